"""What is measured of scores against labels: areas under curves, and what is found at a stated specificity.

Everything is a function of two counts, taken at every distinct score from the highest down: the positives and the
negatives that are called if this score is the threshold. Tied scores make one step. The counts are held for many
resamples at once (a weight a sample), which is why this is not scikit-learn's: it would sort two thousand times. Counts
are integers, so that sums are exact and no order of the samples changes a bit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


class Ranking:
    """The order of one set of scores, found once and used for every resample.

    scores: float[n] without NaN. labels: int[n] in {0, 1}. Raises ValueError on other labels or unequal lengths.
    """

    def __init__(self, scores, labels):
        scores, labels = _checked(scores, labels)
        self._order = np.argsort(-scores, kind="stable")
        ordered = scores[self._order]
        self._positive = (labels[self._order] == 1)[:, None]
        ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(scores) else self._order
        self._ends = None if len(ends) == len(scores) else ends

    def called(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(positives, negatives) that score at least the threshold: float64[d, r], thresholds falling.

        weights: float64[n, r], how often each of r resamples holds each sample.
        """
        weights = weights[self._order]
        positives = np.cumsum(weights * self._positive, axis=0)
        negatives = np.cumsum(weights, axis=0) - positives
        return (
            (positives, negatives) if self._ends is None else (positives[self._ends], negatives[self._ends])
        )

    def measure(self, function: Callable, weights: np.ndarray) -> np.ndarray:
        """float64[r]: `function` of the counts, NaN in resamples that lack a class."""
        return measured(function, *self.called(weights))


def measured(function: Callable, positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """float64[r]: `function(positives, negatives)` of counts [d, r], NaN in resamples that lack a class."""
    values = np.full(positives.shape[1], np.nan)
    both = (positives[-1] > 0) & (negatives[-1] > 0) if len(positives) else np.zeros(len(values), bool)
    if both.all() and len(values):
        return function(positives, negatives)
    if both.any():
        values[both] = function(positives[:, both], negatives[:, both])
    return values


def area(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """float64[r]: the area under the ROC curve of counts [d, r], by trapezoids (ties count one half).

    This is the Mann-Whitney statistic, eq. (1) of Sulam et al. 2017, exact up to one division.
    """
    wins = _steps(negatives)
    wins[1:] *= positives[1:] + positives[:-1]
    wins[0] *= positives[0]
    return wins.sum(axis=0) / 2 / (positives[-1] * negatives[-1])


def average_precision(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """float64[r]: precision at every threshold of counts [d, r], weighted by the recall that the threshold adds.

    A sum of steps, without interpolation (which flatters: Davis and Goadrich 2006). It falls with the share of positives.
    """
    called = positives + negatives
    precision = np.divide(positives, called, out=np.zeros_like(called), where=called > 0)
    # a running sum: its order of addition, unlike that of `sum`, does not depend on how many resamples are held
    return np.cumsum(precision * _steps(positives), axis=0)[-1] / positives[-1]


def sensitivity_at(specificity: float) -> Callable:
    """The largest share of positives called at any threshold whose specificity is at least `specificity`."""

    def sensitivity(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
        # half a negative of slack would change counts; a thousandth makes up for the rounding of the product
        allowed = negatives <= negatives[-1] * (1 - specificity) + 1e-3
        return np.where(allowed, positives, 0).max(axis=0) / positives[-1]

    return sensitivity


@dataclass(frozen=True)
class Metric:
    """A column of the table.

    title: for people. of: function of the counts. by_fold: the mean over folds of what is measured in each; otherwise the
    folds of a repeat are ranked together.
    """

    title: str
    of: Callable
    by_fold: bool = False


METRICS = {
    "mean": Metric("AUC, mean over folds", area, by_fold=True),
    "pooled": Metric("AUC, pooled", area),
    "average_precision": Metric("Average precision", average_precision),
    "sensitivity_at_90": Metric("Sensitivity at 90% specificity", sensitivity_at(0.90)),
}


def auc(scores, labels) -> float:
    """The share of (positive, negative) pairs in which the positive scores higher, ties one half; in [0, 1].

    NaN if a class is missing or a score is NaN. scores: float[n]; labels: int[n] in {0, 1}.
    Raises ValueError on other labels or unequal lengths.
    """
    scores, labels = _checked(scores, labels)
    if np.isnan(scores).any():
        return math.nan
    return float(Ranking(scores, labels).measure(area, np.ones((len(scores), 1)))[0])


def _steps(counts: np.ndarray) -> np.ndarray:
    """What every threshold adds to the counts [d, r]."""
    return np.diff(counts, axis=0, prepend=0)


def _checked(scores, labels) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = np.asarray(scores, float), np.asarray(labels)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(
            f"scores and labels must be one-dimensional and of one length, got shapes {scores.shape} "
            f"and {labels.shape}; pass one label per score"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels must be 0 or 1, got {np.setdiff1d(labels, (0, 1))[:5]}")
    return scores, labels
