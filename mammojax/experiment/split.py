"""Patient-wise splits: folds that are held out, and inside the training folds the inner ones that choose and calibrate."""

from dataclasses import dataclass

import numpy as np

from mammojax.datasets.folds import stratified_folds
from mammojax.datasets.samples import Samples
from mammojax.seeds import stream


@dataclass(frozen=True, eq=False)
class Split:
    """One fold of one repeat, in sample numbers: train (all training folds), held_out, and inner: (fitted, watched) for
    every inner fold; the watched parts together are `train`."""

    repeat: int
    fold: int
    train: np.ndarray
    held_out: np.ndarray
    inner: tuple[tuple[np.ndarray, np.ndarray], ...]


def splits(samples: Samples, *, folds: int, inner: int, seed: int, repeat: int = 0) -> list[Split]:
    """The splits of one repeat. Repeat 0 is that of a single run; each has folds and seeds of its own.

    Raises UserError if a class has fewer patients than there are folds.
    """
    named = (seed, "repeat", repeat) if repeat else (seed,)
    fold_of = stratified_folds(samples.patients, samples.labels, folds=folds, seed=stream(*named, "folds"))
    made = []
    for fold in range(folds):
        train = np.flatnonzero(fold_of != fold)
        part = stratified_folds(
            samples.patients[train], samples.labels[train], folds=inner, seed=stream(*named, "inner", fold)
        )
        parts = tuple((train[part != k], train[part == k]) for k in range(inner))
        made.append(Split(repeat, fold, train, np.flatnonzero(fold_of == fold), parts))
    return made
