"""Out-of-fold predictions of one arm, and what they say at three levels: image, breast and patient.

A breast's score is the mean of its images' calibrated log-odds, a patient's the larger of the breasts'; a label is the
largest of its images'. (Two views show one breast, so their evidence is averaged; a patient is recalled for either
breast.) Images of other breasts enter an image's score only if its arm reads them.
"""

from dataclasses import dataclass, fields

import numpy as np

LEVELS = ("image", "breast", "patient")
_NAMES = ("patients", "breasts")


@dataclass(frozen=True)
class Predictions:
    """Out-of-fold predictions of one arm: arrays of length n, one entry a record and repeat, given in any order.

    records: int, the record's number. patients, breasts: any names, breasts within their patient. folds: int, the fold in
    which the record was held out. labels: int in {0, 1}. scores: float, the logits of the fold's network (kept, not
    ranked: they have no common scale). calibrated: float, log-odds by the calibration that was fitted inside the training
    folds; what everything is measured on. repeats: int, which drawing of folds and seeds.

    Kept in one order, that of repeat and record, with patients numbered by their first record, and breasts likewise:
    nothing that is made of them can depend on the order of rows or on how patients are called.
    Raises ValueError on unequal lengths, other labels, scores that are not finite, a record twice in a repeat, a patient in two folds of a repeat,
    and repeats that differ in their records, patients, breasts or labels.
    """

    records: np.ndarray
    patients: np.ndarray
    breasts: np.ndarray
    folds: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    calibrated: np.ndarray
    repeats: np.ndarray

    def __post_init__(self):
        given = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        shapes = {name: value.shape for name, value in given.items()}
        if len(set(shapes.values())) != 1 or given["labels"].ndim != 1:
            raise ValueError(f"predictions need arrays of one length, got {shapes}")
        if not np.isin(given["labels"], (0, 1)).all():
            raise ValueError(f"labels must be 0 or 1, got {np.setdiff1d(given['labels'], (0, 1))[:5]}")
        order = np.lexsort((given["records"], given["repeats"]))
        for name, value in given.items():
            kind = float if name in ("scores", "calibrated") else int
            object.__setattr__(
                self, name, _numbered(value[order]) if name in _NAMES else value[order].astype(kind)
            )
        object.__setattr__(self, "breasts", _numbered(self.patients * (len(self) + 1) + self.breasts))
        for name in ("scores", "calibrated"):
            odd = ~np.isfinite(getattr(self, name))
            if odd.any():
                raise ValueError(
                    f"{name} are not finite for {odd.sum()} images, such as {getattr(self, name)[odd][0]}"
                )
        if len(np.unique(np.stack([self.repeats, self.records]), axis=1).T) != len(self):
            raise ValueError("a record has more than one prediction; an out-of-fold image is scored once")
        first = self.of_repeat(self.repeats[0]) if len(self) else slice(0)
        for repeat in np.unique(self.repeats):
            here = self.of_repeat(repeat)
            pairs = np.unique(np.stack([self.patients[here], self.folds[here]]), axis=1)
            if pairs.shape[1] != len(np.unique(self.patients[here])):
                raise ValueError("a patient has images in two folds; folds must be patient-wise")
            for name in ("records", "patients", "breasts", "labels"):
                if not np.array_equal(getattr(self, name)[here], getattr(self, name)[first]):
                    raise ValueError(f"repeats {self.repeats[0]} and {repeat} differ in their {name}")

    def __len__(self) -> int:
        return len(self.labels)

    def of_repeat(self, repeat: int) -> slice:
        """Where the entries of one repeat stand."""
        return slice(*np.searchsorted(self.repeats, [repeat, repeat + 1]))


@dataclass(frozen=True)
class Scored:
    """What one arm says at one level: arrays of length n, one entry an image, breast or patient, and repeat.

    patients: int from 0, by their first record. folds, repeats: int. labels: int in {0, 1}. scores: float log-odds.
    """

    patients: np.ndarray
    folds: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    repeats: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def at_level(predictions: Predictions, level: str) -> Scored:
    """The predictions pooled to one of `LEVELS`, by the rule of this module."""
    scored = Scored(
        *(getattr(predictions, name) for name in ("patients", "folds", "labels", "calibrated", "repeats"))
    )
    if level == "image":
        return scored
    scored = _grouped(scored, predictions.breasts, "mean")
    if level == "breast":
        return scored
    if level == "patient":
        return _grouped(scored, scored.patients, "max")
    raise ValueError(f"level is {level!r}; choose one of {', '.join(LEVELS)}")


def _grouped(scored: Scored, group: np.ndarray, pool: str) -> Scored:
    """One entry for each group and repeat, in the order of repeat and first record."""
    # the number of a group rises with its first record, so that this order is that of the entries
    _, first, of = np.unique(
        np.stack([scored.repeats, group]), axis=1, return_index=True, return_inverse=True
    )
    of = of.ravel()
    labels = np.zeros(len(first), int)
    np.maximum.at(labels, of, scored.labels)
    if pool == "mean":
        scores = np.bincount(of, scored.scores) / np.bincount(of)
    else:
        scores = np.full(len(first), -np.inf)
        np.maximum.at(scores, of, scored.scores)
    return Scored(scored.patients[first], scored.folds[first], labels, scores, scored.repeats[first])


def _numbered(names: np.ndarray) -> np.ndarray:
    """int[n]: names counted from 0 in the order in which they first occur."""
    _, first, of = np.unique(names, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[of.ravel()]
