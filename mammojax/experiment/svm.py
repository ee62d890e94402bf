"""Baseline 1 of Sulam et al. 2017, section 5: a linear SVM on the features of the whole image.

The features are those of the off-the-shelf backbone on the breast resized to 224 x 224; they are made
elsewhere.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import solve

from mammojax.datasets.folds import stratified_folds
from mammojax.errors import UserError
from mammojax.evaluation.metrics import auc
from mammojax.runs.files import writing

COSTS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1)


@dataclass(frozen=True)
class LinearScorer:
    """score = ((features - mean) / std) @ weights + intercept; float64[f] each, intercept and cost float.

    cost: the SVM's C. cost_aucs: mean AUC over the inner folds of every cost that was tried, empty if none
    could be.
    """

    mean: np.ndarray
    std: np.ndarray
    weights: np.ndarray
    intercept: float
    cost: float
    cost_aucs: dict[float, float]

    def scores(self, features) -> np.ndarray:
        """float64[n]: the logits of features float[n, f]."""
        features = np.asarray(features, float)
        if features.ndim != 2 or features.shape[1] != len(self.weights):
            raise ValueError(f"expected features [n, {len(self.weights)}], got {list(features.shape)}")
        return (features - self.mean) / self.std @ self.weights + self.intercept

    def save(self, path: Path) -> None:
        """Writes an npz of plain arrays, whole or not at all."""
        with writing(path) as file:
            np.savez(
                file,
                mean=self.mean,
                std=self.std,
                weights=self.weights,
                intercept=self.intercept,
                cost=self.cost,
                costs=list(self.cost_aucs),
                aucs=list(self.cost_aucs.values()),
            )

    @classmethod
    def load(cls, path: Path) -> "LinearScorer":
        """The scorer of `save`. Raises UserError if the file is absent or is not one."""
        try:
            with np.load(path, allow_pickle=False) as held:
                mean, std, weights = (held[name].astype(float) for name in ("mean", "std", "weights"))
                intercept, cost = float(held["intercept"]), float(held["cost"])
                aucs = dict(zip(held["costs"].tolist(), held["aucs"].tolist()))
        except FileNotFoundError:
            raise UserError(f"{path} is absent; train the baseline first") from None
        except (KeyError, ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile):
            raise UserError(
                f"{path} is not a linear scorer; remove it and train the baseline again"
            ) from None
        if not mean.shape == std.shape == weights.shape == (weights.size,):
            raise UserError(f"{path} holds arrays of unequal lengths; remove it and train the baseline again")
        return cls(mean, std, weights, intercept, cost, aucs)


def fit_svm(
    features, labels, patients, *, seed: int, costs: Sequence[float] = COSTS, folds: int = 5
) -> LinearScorer:
    """A linear SVM (squared hinge) on standardised features, its cost chosen inside the given training set.

    The cost is that with the highest mean AUC over `folds` inner folds, patient-wise and stratified; of
    equals the smallest. With fewer patients of a class than folds there are as many folds as patients; with a
    single one nothing can be compared, and the middle of `costs` is taken. Mean and standard deviation are
    those of the images that are fitted, in the inner folds too. A feature that does not vary has no say. The
    same seed gives the same scorer.

    features: float[n, f]. labels: int[n] in {0, 1}. patients: [n], names or numbers.
    Raises UserError if a class is missing, ValueError on wrong shapes and features that are not finite.
    """
    features, labels, patients = np.asarray(features, float), np.asarray(labels), np.asarray(patients)
    if features.ndim != 2 or not len(features) == len(labels) == len(patients):
        raise ValueError(
            f"expected features [n, f] with n labels and n patients, got {list(features.shape)}, "
            f"{list(labels.shape)} and {list(patients.shape)}"
        )
    if not np.isfinite(features).all():
        broken = (~np.isfinite(features).all(axis=1)).sum()
        raise ValueError(f"{broken} of {len(features)} images have features that are not finite")
    if set(np.unique(labels)) != {0, 1}:
        raise UserError(
            f"the SVM needs images of both classes to train on, got {int((labels == 1).sum())} positive and "
            f"{int((labels == 0).sum())} negative; use more data or fewer folds"
        )
    costs = sorted(costs)
    positive = len(np.unique(patients[labels == 1]))
    possible = min(folds, positive, len(np.unique(patients)) - positive)
    aucs = {}
    if possible >= 2 and len(costs) > 1:
        part = stratified_folds(patients, labels, folds=possible, seed=seed)
        aucs = _inner_aucs(features, labels, part, costs)
        cost = max(costs, key=aucs.__getitem__)  # max keeps the first of equals
    else:
        cost = costs[(len(costs) - 1) // 2]
    mean, std = _standardisation(features)
    ((weights, intercept),) = _fits((features - mean) / std, labels, [cost])
    return LinearScorer(mean, std, weights, intercept, cost, aucs)


def _inner_aucs(features, labels, part, costs) -> dict[float, float]:
    """cost -> mean AUC over the inner folds."""
    found = []
    for k in np.unique(part):
        outside = part == k
        mean, std = _standardisation(features[~outside])
        truth = labels[outside]
        fits = _fits((features[~outside] - mean) / std, labels[~outside], costs)
        found.append([auc((features[outside] - mean) / std @ weights + b, truth) for weights, b in fits])
    return dict(zip(costs, np.mean(found, axis=0).tolist()))


def _standardisation(features) -> tuple[np.ndarray, np.ndarray]:
    """(mean, std); std is infinite for features that do not vary, such as a dead ReLU's: they become 0."""
    mean, std = features.mean(axis=0), features.std(axis=0)
    return mean, np.where(std <= 1e-6 * np.abs(mean), np.inf, std)  # float32 rounds around a constant


def _fits(features, labels, costs):
    """Yields (weights, intercept) for every cost."""
    # Directions outside the span of the images have weight 0: no more coordinates than images are needed.
    basis, coordinates = None, features
    if features.shape[0] < features.shape[1]:
        basis, upper = np.linalg.qr(features.T)
        coordinates = upper.T
    coordinates = np.column_stack([coordinates, np.ones(len(coordinates))])
    w = np.zeros(coordinates.shape[1])
    for cost in costs:
        w = _svm(coordinates, np.where(labels == 1, 1.0, -1.0), cost, w)  # starts at the previous optimum
        yield (w[:-1] if basis is None else basis @ w[:-1]), float(w[-1])


def _svm(x, signs, cost, start) -> np.ndarray:
    """The w = (weights, intercept) that minimises 1/2 |weights|^2 + cost * sum of max(0, 1 - sign w x)^2.

    Newton's method on the active set (Keerthi and DeCoste 2005), which ends after finitely many steps and,
    unlike coordinate descent, draws no random numbers and does not stall at large costs.
    x: float64[n, f + 1], ones in the last column. signs: +1 or -1.
    """
    shrink = np.append(np.ones(x.shape[1] - 1), 1e-8)  # the intercept is free, but the system stays regular

    def slack(w):
        return np.maximum(0, 1 - signs * (x @ w))

    def value(w):
        return np.sum(shrink * w**2) / 2 + cost * np.sum(slack(w) ** 2)

    w = start
    for _ in range(200):
        outside = slack(w)
        active = x[outside > 0]
        gradient = shrink * w - 2 * cost * x.T @ (signs * outside)
        step = solve(np.diag(shrink) + 2 * cost * active.T @ active, gradient, assume_a="pos")
        size, now, fall = 1.0, value(w), gradient @ step
        while value(w - size * step) > now - 1e-4 * size * fall and size > 1e-10:
            size /= 2
        w = w - size * step
        if fall <= 1e-12 * now:
            break
    return w
