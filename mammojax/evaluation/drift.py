"""Is a calibration still right on other patients? What it says on average, and what would have to be done to it.

A recalibration is a logistic regression of the label on the log-odds (Cox 1958): log-odds' = slope * log-odds + intercept;
slope 1 and intercept 0 where nothing has drifted, a slope below 1 where scores claim too much.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from mammojax.evaluation import bootstrap
from mammojax.evaluation.bootstrap import Estimate
from mammojax.evaluation.predictions import Predictions

STEPS = 20  # Newton's; ten are enough unless a threshold parts the classes, then each adds about one to the coefficients
CONVERGED = 1e-8  # of the mean gradient


@dataclass(frozen=True)
class Drift:
    """predicted: mean calibrated probability of the images. observed: their share of positives. excess: predicted minus
    observed, paired. slope, intercept: of the recalibration, NaN where a threshold parts the classes. Intervals: 95%, from
    resampled patients.
    """

    predicted: Estimate
    observed: Estimate
    excess: Estimate
    slope: Estimate
    intercept: Estimate


def drift(predictions: Predictions, *, seed: int, resamples: int = 2000) -> Drift:
    """The drift of one arm's calibration on images; all repeats together."""
    owner, labels = predictions.patients, predictions.labels.astype(float)
    odds = predictions.calibrated
    probability = expit(odds)

    def measure(weights: np.ndarray) -> np.ndarray:
        """float64[4, r]: predicted, observed, slope, intercept."""
        of = weights[owner]
        total = of.sum(axis=0)
        return np.stack([probability @ of / total, labels @ of / total, *recalibration(odds, labels, of)])

    strata = bootstrap.strata(predictions.patients, predictions.folds, predictions.repeats)
    value = measure(np.ones((len(strata), 1)))[:, 0]
    drawn = [
        measure(weights)
        for weights in bootstrap.resampled(strata, entries=4 * len(owner), seed=seed, resamples=resamples)
    ]
    drawn = np.concatenate(drawn, axis=1)
    return Drift(
        predicted=bootstrap.proportion(float(value[0]), drawn[0]),
        observed=bootstrap.proportion(float(value[1]), drawn[1]),
        excess=bootstrap.difference(float(value[0] - value[1]), drawn[0] - drawn[1]),
        slope=bootstrap.difference(float(value[2]), drawn[2]),
        intercept=bootstrap.difference(float(value[3]), drawn[3]),
    )


def recalibration(odds: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(slope, intercept), float64[r] each: weighted logistic regressions of labels on log-odds, NaN without a solution.

    odds: float[n]. labels: [n] in {0, 1}. weights: float[n, r], not negative.
    """
    centre, spread = odds.mean(), odds.std() or 1.0
    x = (odds - centre) / spread
    slope, intercept = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    total = weights.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(STEPS):
            probability = expit(x[:, None] * slope + intercept)
            error = weights * (probability - labels[:, None])
            curved = weights * probability * (1 - probability)
            g0, g1 = error.sum(axis=0), x @ error
            h0, h1, h2 = curved.sum(axis=0), x @ curved, x**2 @ curved
            determinant = h0 * h2 - h1**2
            slope = slope - (h0 * g1 - h1 * g0) / determinant
            intercept = intercept - (h2 * g0 - h1 * g1) / determinant
            small = np.abs(g0) + np.abs(g1) < CONVERGED * total
            if small.all():
                break
        solved = small & (np.abs(slope) < STEPS / 2) & (np.abs(intercept) < STEPS / 2)  # False for NaN
    slope, intercept = slope / spread, intercept - slope * centre / spread
    return np.where(solved, slope, np.nan), np.where(solved, intercept, np.nan)
