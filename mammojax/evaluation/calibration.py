"""From a logit to log-odds that mean the same in every fold: Platt scaling that never reverses the order.

Fitted on patients of the training folds that the network was not fitted to. The probability refers to the
share of positives among them.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from mammojax.errors import UserError

SMALLEST = 1e-6  # of slopes, in log-odds a standard deviation of the scores: keeps the order, says nothing


@dataclass(frozen=True)
class Platt:
    """log-odds = slope * score + intercept, slope > 0."""

    slope: float
    intercept: float

    def log_odds(self, scores) -> np.ndarray:
        """float64, the shape of scores: the calibrated log-odds of being positive."""
        return self.slope * np.asarray(scores, float) + self.intercept

    def probability(self, scores) -> np.ndarray:
        """float64 in [0, 1], the shape of scores: the calibrated probability of being positive."""
        return expit(self.log_odds(scores))

    def to_json(self) -> dict[str, float]:
        """A JSON value that `from_json` reads."""
        return {"slope": self.slope, "intercept": self.intercept}

    @classmethod
    def from_json(cls, value) -> "Platt":
        """The calibration of `to_json`. Raises UserError if it is not one."""
        try:
            platt = cls(float(value["slope"]), float(value["intercept"]))
        except (KeyError, TypeError, ValueError):
            platt = None
        if platt is None or not (0 < platt.slope < math.inf and math.isfinite(platt.intercept)):
            raise UserError(
                f"a calibration is a positive slope and an intercept, got {str(value)[:80]}; "
                f"train the cell again"
            )
        return platt


def fit_platt(scores, labels) -> Platt:
    """The calibration that minimises the cross-entropy against Platt's smoothed targets.

    Targets (P + 1)/(P + 2) for P positives and 1/(N + 2) for N negatives (Platt 1999) keep the fit finite on
    separable data and short of certainty on few. The slope is never negative: where the fit wants that, it is
    `SMALLEST` over the scores' standard deviation, which keeps their order and gives everyone the prior
    log-odds. So it is for constant scores, for a single class and for no scores at all (log-odds 0).

    scores: finite float[n]. labels: int[n] in {0, 1}.
    Raises ValueError on other labels, unequal lengths or scores that are not finite.
    """
    scores, labels = np.asarray(scores, float), np.asarray(labels)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(
            f"scores and labels must be one-dimensional and of one length, got shapes {scores.shape} "
            f"and {labels.shape}; pass one label per score"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels must be 0 or 1, got {np.setdiff1d(labels, (0, 1))[:5]}")
    if not np.isfinite(scores).all():
        raise ValueError(f"{(~np.isfinite(scores)).sum()} of {len(scores)} scores are not finite")
    if not len(scores):
        return Platt(SMALLEST, 0.0)
    positives = int(labels.sum())
    negatives = len(labels) - positives
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    centre, spread = scores.mean(), scores.std()
    if spread <= 1e-12 * abs(centre):  # constant up to rounding; there is no unit to count in
        spread = 1.0
    standard = (scores - centre) / spread
    prior = math.log(targets.mean() / (1 - targets.mean()))
    slope, intercept = _least_cross_entropy(standard, targets, start=prior)
    return Platt(float(slope / spread), float(intercept - slope * centre / spread))


def _least_cross_entropy(x: np.ndarray, targets: np.ndarray, *, start: float) -> tuple[float, float]:
    """(slope, intercept) with a slope of at least `SMALLEST`.

    scikit-learn's logistic regression has neither targets between 0 and 1 nor a bound on the slope; scipy's optimiser has.
    """
    from scipy.optimize import minimize  # takes seconds to load, and a finished table fits nothing

    def value(at):
        z = at[0] * x + at[1]
        excess = expit(z) - targets
        return np.mean(np.logaddexp(0, z) - targets * z), np.array([np.mean(excess * x), np.mean(excess)])

    found = minimize(
        value,
        [SMALLEST, start],
        jac=True,
        method="L-BFGS-B",
        bounds=[(SMALLEST, None), (None, None)],
        options={"ftol": 1e-15, "gtol": 1e-11, "maxiter": 1000},
    )
    return tuple(found.x)


@dataclass(frozen=True)
class Reliability:
    """Calibrated probability against what was found, arrays of length b for b groups of similar probability.

    predicted: mean probability. observed: share of positives, with a 95% interval low to high (Wilson 1927;
    images are taken as independent). images: how many.
    """

    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    images: np.ndarray


def reliability(log_odds, labels, *, groups: int = 10) -> Reliability:
    """The reliability diagram of calibrated log-odds: at most `groups` groups of nearly equal size.

    Images of equal log-odds stay together.
    """
    probability, labels = expit(np.asarray(log_odds, float)), np.asarray(labels)
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, groups + 1)[1:-1])) if len(labels) else []
    _, group = np.unique(np.searchsorted(edges, probability, side="left"), return_inverse=True)
    images = np.bincount(group)
    predicted, observed = (np.bincount(group, values) / images for values in (probability, labels))
    z = 1.959963984540054  # the normal distribution's 97.5% point
    centre = (observed + z**2 / (2 * images)) / (1 + z**2 / images)
    half = z / (1 + z**2 / images) * np.sqrt(observed * (1 - observed) / images + z**2 / (4 * images**2))
    return Reliability(
        predicted, observed, np.maximum(centre - half, 0), np.minimum(centre + half, 1), images
    )
