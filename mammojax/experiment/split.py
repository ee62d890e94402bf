"""Patient-wise cross-validation of the paper's arms, side by side on the same folds and seeds.

Everything that chooses anything (the epoch, the SVM's cost, the calibration) sees the training folds only; the held-out
fold is scored once with what was chosen. See `cells` for one arm on one fold.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammojax.datasets.folds import stratified_folds
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError
from mammojax.evaluation.predictions import Predictions
from mammojax.runs import stages
from mammojax.runs.files import writing
from mammojax.seeds import stream
from mammojax.training.metrics import read_metrics

COLUMNS = ("record", "patient", "breast", "fold", "label", "score", "log_odds", "probability")


@dataclass(frozen=True)
class Split:
    """Record numbers of one fold: train (fits), inner (selects and calibrates) and held_out (is scored)."""

    fold: int
    train: np.ndarray
    inner: np.ndarray
    held_out: np.ndarray


def split(records: RecordSet, fold_of: np.ndarray, fold: int, *, inner: int, seed: int) -> Split:
    """The split of one fold; the inner set is one of `inner` patient-wise stratified parts of the training folds."""
    inside = np.flatnonzero(fold_of != fold)
    part = stratified_folds(
        records.patients[inside], records.labels[inside], folds=inner, seed=stream(seed, "inner", fold)
    )
    return Split(fold, inside[part != 0], inside[part == 0], np.flatnonzero(fold_of == fold))


def cell_folder(directory: Path, arm: str, fold: int) -> Path:
    """Where a cell lies in the run directory."""
    return Path(directory) / "arms" / arm / f"fold_{fold}"


def collect(directory: Path, arms: Sequence[str], folds: int) -> dict[str, Predictions]:
    """The out-of-fold predictions of every arm; also writes predictions.csv with a first column `arm`.

    Raises UserError naming the cells that are missing.
    """
    missing = [
        f"{arm} fold {k}"
        for arm in arms
        for k in range(folds)
        if stages.stored_key(cell_folder(directory, arm, k)) is None
    ]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(arms) * folds} cells are not finished ({', '.join(missing[:4])}"
            f"{', ...' if len(missing) > 4 else ''}); train them first"
        )
    gathered, rows = {}, []
    for arm in arms:
        lines = []
        for k in range(folds):
            with (cell_folder(directory, arm, k) / "predictions.csv").open(
                encoding="utf-8", newline=""
            ) as file:
                lines += list(csv.DictReader(file))
        lines.sort(key=lambda line: line["record"])
        rows += [[arm, *(line[c] for c in COLUMNS)] for line in lines]
        gathered[arm] = Predictions(
            records=np.asarray([line["record"] for line in lines]),
            patients=np.asarray([line["patient"] for line in lines]),
            folds=np.asarray([int(line["fold"]) for line in lines]),
            labels=np.asarray([int(line["label"]) for line in lines]),
            scores=np.asarray([float(line["score"]) for line in lines]),
            calibrated=np.asarray([float(line["log_odds"]) for line in lines]),
        )
    first, *others = gathered.values()
    for other in others:
        if not np.array_equal(first.records, other.records) or not np.array_equal(first.folds, other.folds):
            raise UserError(
                f"the arms in {directory} were trained on different records or folds; run launch.crossval "
                f"again"
            )
    with writing(Path(directory) / "predictions.csv", "w") as file:
        writer = csv.writer(file)
        writer.writerow(["arm", *COLUMNS])
        writer.writerows(rows)
    return gathered


def training_curves(directory: Path, arms: Sequence[str], folds: int) -> dict[str, dict[int, tuple]]:
    """arm -> fold -> (iterations, held-out AUC) of the neural arms: the paper's Figure 3."""
    curves: dict[str, dict[int, tuple]] = {}
    for arm in arms:
        for k in range(folds):
            lines = [
                m
                for m in read_metrics(cell_folder(directory, arm, k) / "metrics.jsonl")
                if m.get("held_out_auc") is not None
            ]
            if lines:
                curves.setdefault(arm, {})[k] = (
                    [m["step"] for m in lines],
                    [m["held_out_auc"] for m in lines],
                )
    return curves
