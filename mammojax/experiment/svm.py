"""Baseline 1 of Sulam et al. 2017, section 5: a linear SVM on the features of the whole image.

The features are those of the off-the-shelf backbone on the breast resized to 224 x 224; they are made elsewhere. The SVM
is scikit-learn's `LinearSVC` in its primal form, which draws no random numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mammojax.errors import UserError
from mammojax.evaluation.metrics import auc
from mammojax.experiment.split import Split

COSTS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1)


@dataclass(frozen=True, eq=False)
class LinearScorer:
    """score = ((features - mean) / deviation) @ weights + intercept; float64[f] each, the intercept float64[]."""

    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray

    def scores(self, features) -> np.ndarray:
        """float64[n]: the logits of features float[n, f]."""
        features = np.asarray(features, float)
        if features.ndim != 2 or features.shape[1] != len(self.weights):
            raise ValueError(f"expected features [n, {len(self.weights)}], got {list(features.shape)}")
        return (features - self.mean) / self.deviation @ self.weights + self.intercept


@dataclass(frozen=True, eq=False)
class FittedSVM:
    """scorer: fitted to all training folds. cost: the C that was chosen; cost_aucs: mean inner AUC of every cost.
    out_of_fold: float64[train], inner scores at that cost."""

    scorer: LinearScorer
    cost: float
    cost_aucs: dict[float, float]
    out_of_fold: np.ndarray


def fit_svm(features, labels, parts: Split, *, costs: Sequence[float] = COSTS) -> FittedSVM:
    """A linear SVM (squared hinge) on standardised features, its cost chosen by the mean AUC over the inner folds.

    Of equal costs the smallest. Mean and deviation are those of the images that are fitted, in the inner folds too; a
    feature that does not vary has no say. features: float[n, f] of all samples. labels: int[n] in {0, 1}.
    Raises UserError if a class is missing, ValueError on wrong shapes and features that are not finite.
    """
    features, labels = np.asarray(features, float), np.asarray(labels)
    if features.ndim != 2 or len(features) != len(labels):
        raise ValueError(
            f"expected features [n, f] with n labels, got {list(features.shape)} and {list(labels.shape)}"
        )
    if not np.isfinite(features).all():
        broken = (~np.isfinite(features).all(axis=1)).sum()
        raise ValueError(f"{broken} of {len(features)} images have features that are not finite")
    if set(np.unique(labels[parts.train])) != {0, 1}:
        positive = int((labels[parts.train] == 1).sum())
        raise UserError(
            f"the SVM needs images of both classes to train on, got {positive} positive and "
            f"{len(parts.train) - positive} negative; use more data or fewer folds"
        )
    inner = {cost: np.full(len(labels), np.nan) for cost in sorted(costs)}
    for fitted, watched in parts.inner:
        for cost in inner:
            inner[cost][watched] = _fit(features[fitted], labels[fitted], cost).scores(features[watched])
    aucs = {
        cost: float(np.mean([auc(scores[watched], labels[watched]) for _, watched in parts.inner]))
        for cost, scores in inner.items()
    }
    cost = max(aucs, key=aucs.__getitem__)  # max keeps the first of equals
    scorer = _fit(features[parts.train], labels[parts.train], cost)
    return FittedSVM(scorer, cost, aucs, inner[cost][parts.train])


def _fit(features: np.ndarray, labels: np.ndarray, cost: float) -> LinearScorer:
    from sklearn.svm import LinearSVC

    mean, deviation = features.mean(axis=0), features.std(axis=0)
    # float32 rounds around a constant: such features are divided by infinity, they become 0
    deviation = np.where(deviation <= 1e-6 * np.abs(mean), np.inf, deviation)
    # The scaling leaves the intercept nearly free of shrinkage. On separable films a large cost has one direction that no
    # longer changes: a finer tolerance takes a thousand times the iterations (measured) for the same order of scores.
    svm = LinearSVC(C=cost, dual=False, intercept_scaling=10.0, tol=1e-3, max_iter=10000)
    svm.fit((features - mean) / deviation, labels)
    return LinearScorer(mean, deviation, svm.coef_[0], np.asarray(svm.intercept_[0]))
