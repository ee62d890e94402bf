"""Patient-wise folds: all images of a patient lie in one fold, and each fold gets its share of positive patients."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mammojax.datasets.acquisition import read_acquisitions
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError
from mammojax.runs.files import write_json


def stratified_folds(patients: np.ndarray, labels: np.ndarray, *, folds: int, seed: int) -> np.ndarray:
    """int32[n]: the fold, 0 .. folds - 1, of every image.

    Patients are stratified by their label (positive if any image is) and shuffled by `seed`; the result does not
    depend on the order of the images. patients: int[n], any numbering. labels: int[n] in {0, 1}.
    Raises UserError if a class has fewer patients than there are folds.
    """
    from sklearn.model_selection import StratifiedKFold

    patients, labels = np.asarray(patients), np.asarray(labels)
    numbers, inverse = np.unique(patients, return_inverse=True)
    truth = np.zeros(len(numbers), np.int32)
    np.maximum.at(truth, inverse, labels)
    smallest = int(np.bincount(truth, minlength=2).min())
    if folds < 2 or smallest < folds:
        raise UserError(
            f"{folds} folds need at least 2 folds and {folds} patients of each class, got {smallest} "
            f"patients of the smaller class; use fewer folds or more data"
        )
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    fold_of_patient = np.zeros(len(numbers), np.int32)
    for fold, (_, held_out) in enumerate(splitter.split(numbers, truth)):
        fold_of_patient[held_out] = fold
    return fold_of_patient[inverse]


def refuse_shared_pictures(records: RecordSet, fold_of: np.ndarray) -> None:
    """UserError if the same decoded picture lies in different folds: it would be trained on and tested.

    fold_of: int[n], the fold of every record.
    """
    folds: dict[str, set[int]] = {}
    numbers: dict[str, list[int]] = {}
    films = read_acquisitions(records.directory)
    for record, film, fold in zip(records.records, films, fold_of, strict=True):
        folds.setdefault(film.pixels, set()).add(int(fold))
        numbers.setdefault(film.pixels, []).append(record.number)
    parted = [numbers[digest] for digest in folds if len(folds[digest]) > 1]
    if parted:
        first = " and ".join(map(str, parted[0]))
        raise UserError(
            f"{len(parted)} pictures lie under several patients and in several folds (files {first} of accounts.csv "
            f"show the same); remove the wrong files, or give them one patient"
        )


def save_folds(path: Path, records: RecordSet, repeats: Sequence[np.ndarray], *, seed: int) -> None:
    """Writes folds.json: seed and, for every repeat, the fold of every record by number.

    repeats: int[n] each, the fold of every record.
    """
    folds = {}
    for repeat, fold_of in enumerate(repeats):
        numbered = {str(record.number): int(fold) for record, fold in zip(records.records, fold_of)}
        folds[f"repeat {repeat}"] = numbered
    write_json(path, {"seed": seed, "folds": folds})
