"""Patient-wise splits: folds that are held out, and inside the training folds the inner ones that choose and calibrate."""

from dataclasses import dataclass

import numpy as np

from mammojax.datasets.folds import stratified_folds
from mammojax.datasets.samples import Samples
from mammojax.errors import UserError
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


def splits(
    samples: Samples, *, folds: int, inner: int, seed: int, repeat: int = 0, sets: np.ndarray | None = None
) -> list[Split]:
    """The splits of one repeat. Repeat 0 is that of a single run; each has folds and seeds of its own.

    sets: int[samples], of which of several sets each is: folds are drawn within each set, so that every fold has its share of
    every set's classes; None for one set. Raises UserError if a class of a set has fewer patients than there are folds.
    """
    named = (seed, "repeat", repeat) if repeat else (seed,)
    sets = np.zeros(len(samples), int) if sets is None else sets

    def drawn(numbers: np.ndarray, folds: int, seed: int, what: str) -> np.ndarray:
        fold_of = np.empty(len(numbers), np.int32)
        for k in np.unique(sets[numbers]):
            here = np.flatnonzero(sets[numbers] == k)
            patients, labels = samples.patients[numbers[here]], samples.labels[numbers[here]]
            own = stream(seed, "set", int(k)) if k else seed
            try:
                fold_of[here] = stratified_folds(patients, labels, folds=folds, seed=own)
            except UserError as error:
                raise UserError(f"{what}: {error}") from None
        return fold_of

    fold_of = drawn(np.arange(len(samples)), folds, stream(*named, "folds"), "config.crossval.folds")
    made = []
    for fold in range(folds):
        train = np.flatnonzero(fold_of != fold)
        what = f"config.training.inner, inside what fold {fold} trains on"
        part = drawn(train, inner, stream(*named, "inner", fold), what)
        parts = tuple((train[part != k], train[part == k]) for k in range(inner))
        made.append(Split(repeat, fold, train, np.flatnonzero(fold_of == fold), parts))
    return made
