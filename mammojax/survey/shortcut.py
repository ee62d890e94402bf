"""Can the label be told from how a film was taken and stored? A small classifier on those facts alone, and which differ."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mammojax.datasets.folds import stratified_folds
from mammojax.evaluation import bootstrap
from mammojax.evaluation.bootstrap import Estimate
from mammojax.evaluation.metrics import Ranking, area
from mammojax.evaluation.predictions import Predictions
from mammojax.evaluation.shortcuts import facts_alone, within_groups
from mammojax.survey.films import Films, indicators

RESAMPLES = 500
_FOLDS = 5
_FEW = 5  # patients of a class, below which intervals of resampled patients are not believed
_FAR = 0.1  # from 0.5, or between two shares: worth a warning if the interval agrees


@dataclass(frozen=True)
class Difference:
    """How a fact differs between the classes.

    name: of the fact. kind: "number" or "share". positives, negatives: medians, or shares of the films. estimate: the AUC of
    the fact alone (0.5: none), or the difference of the shares (0: none). warned: whether it is large and shown.
    """

    name: str
    kind: str
    positives: float
    negatives: float
    estimate: Estimate
    warned: bool


def shortcut_auc(films: Films, *, seed: int) -> Estimate | None:
    """The AUC, by image, of the label told from the facts of acquisition alone, patient-wise cross-validated; its interval
    is that of resampled patients. 0.5 where the facts tell nothing.

    Folds are five, or as many as the smaller class has patients. None where a class has fewer than two.
    """
    number = int(films.patients.max()) + 1
    positive = np.zeros(number, int)
    np.maximum.at(positive, films.patients, films.labels)
    folds = min(_FOLDS, int(positive.sum()), int(number - positive.sum()))
    if folds < 2:
        return None
    _, facts = indicators(films)
    if not facts.shape[1]:
        return Estimate(0.5, 0.5, 0.5)  # no fact varies
    fold_of = stratified_folds(films.patients, films.labels, folds=folds, seed=seed)
    order = np.argsort(films.numbers)
    like = Predictions(
        records=films.numbers,
        patients=films.patients,
        breasts=films.numbers,
        folds=fold_of,
        labels=films.labels,
        scores=np.zeros(len(films)),
        calibrated=np.zeros(len(films)),
        repeats=np.zeros(len(films), int),
    )
    told = facts_alone(facts[order], like)
    # films of one fold are ranked among themselves: scores of different models have no common scale
    by_fold = [str(fold) for fold in fold_of[order]]
    return within_groups(told, by_fold, seed=seed, resamples=RESAMPLES).together


def differences(films: Films, *, seed: int) -> list[Difference]:
    """Every fact that varies, those that are warned of first, then by how far it is from telling nothing.

    Nothing is warned of where a class has fewer than five patients.
    """
    names, facts = indicators(films)
    if not names or len(np.unique(films.labels)) < 2:
        return []
    group = np.zeros(int(films.patients.max()) + 1, int)
    chunks = bootstrap.resampled(group, entries=len(films), seed=seed, resamples=RESAMPLES)
    weights = np.concatenate([np.ones((len(group), 1)), *chunks], axis=1)
    found = [_difference(films, name, column, weights) for name, column in zip(names, facts.T)]
    if min(len(np.unique(films.patients[films.labels == k])) for k in (0, 1)) < _FEW:
        found = [replace(difference, warned=False) for difference in found]
    return sorted(found, key=lambda d: (not d.warned, -_distance(d), d.name))


def _difference(films: Films, name: str, values: np.ndarray, weights: np.ndarray) -> Difference:
    """weights: float[patients, 1 + resamples], how often each holds each patient; the first holds all once."""
    known = ~np.isnan(values)
    values, labels, weights = values[known], films.labels[known], weights[films.patients[known]]
    if ": " in name:
        kind = "share"
        shares = [(values[labels == k] @ weights[labels == k]) / np.maximum(weights[labels == k].sum(axis=0), 1e-9)
                  for k in (1, 0)]  # fmt: skip
        positives, negatives = (float(share[0]) for share in shares)
        resampled = shares[0] - shares[1]
        estimate = bootstrap.difference(float(resampled[0]), resampled[1:])
        warned = abs(estimate.value) >= _FAR and not estimate.low <= 0 <= estimate.high
    else:
        kind = "number"
        positives, negatives = (_median(values[labels == k]) for k in (1, 0))
        resampled = Ranking(values, labels).measure(area, weights)
        estimate = bootstrap.proportion(float(resampled[0]), resampled[1:])
        warned = abs(estimate.value - 0.5) >= _FAR and not estimate.low <= 0.5 <= estimate.high
    return Difference(name, kind, positives, negatives, estimate, bool(warned))


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _distance(difference: Difference) -> float:
    """How far a fact is from telling nothing, on one scale for both kinds; 0 where that is not defined."""
    value = difference.estimate.value
    distance = abs(value) / 2 if difference.kind == "share" else abs(value - 0.5)
    return 0.0 if np.isnan(distance) else float(distance)


def sentence(difference: Difference) -> str:
    """A warning in words."""
    d = difference
    if d.kind == "share":
        return f"{d.name}: {d.positives:.0%} of the positive films, {d.negatives:.0%} of the negative ones"
    return (
        f"{d.name}: median {d.positives:.4g} of the positive films, {d.negatives:.4g} of the negative ones; alone it orders "
        f"{max(d.estimate.value, 1 - d.estimate.value):.0%} of the pairs"
    )


def same_pixels(films: Films) -> list[tuple[Sequence[int], bool, bool]]:
    """(numbers of the files, whether they are of several patients, whether their labels differ) of every picture that
    lies in more than one file that is used, whatever the files' own bytes."""
    groups: dict[str, list[int]] = {}
    for i, digest in enumerate(films.pixels):
        groups.setdefault(digest, []).append(i)
    return [
        (
            films.numbers[group].tolist(),
            len(set(films.patients[group].tolist())) > 1,
            len(set(films.labels[group].tolist())) > 1,
        )
        for group in groups.values()
        if len(group) > 1
    ]
