"""Predictions of held-out records: a row a record, written by every cell and gathered for the table."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mammojax.datasets.record import RecordSet
from mammojax.datasets.samples import Samples
from mammojax.runs import stages
from mammojax.runs.files import writing
from mammojax.training.metrics import read_metrics

COLUMNS = (
    "record", "file", "patient", "breast", "laterality", "view", "repeat", "fold", "label", "score", "log_odds",
    "probability", "geometry",
)  # fmt: skip


def described(
    records: RecordSet, samples: Samples, numbers: Sequence[int], *, labels: np.ndarray | None = None
) -> list[list[dict]]:
    """For each of the samples `numbers` what predictions.csv says of its records, whatever they score. labels: int[samples]
    in place of the records' own."""
    patients = records.patients
    breasts = {(int(p), r.breast): None for p, r in zip(patients, records.records)}
    breast_number = {breast: k + 1 for k, breast in enumerate(breasts)}

    def row(i: int, k: int) -> dict:
        r = records.records[i]
        return {
            "record": r.number,
            "file": r.record,
            "patient": int(samples.patients[k]) + 1,
            "breast": breast_number[int(patients[i]), r.breast],
            "laterality": r.laterality,
            "view": r.view,
            "label": r.label if labels is None else int(labels[k]),
            "geometry": r.geometry,
        }

    return [[row(int(i), int(k)) for i in samples.members[int(k)]] for k in numbers]


def write_predictions(path: Path, rows: Sequence[Sequence[dict]], scores: np.ndarray, platt, parts) -> None:
    """Writes predictions.csv of a cell. rows: for each sample the records that get its score, dicts with the columns that
    say what a record is. scores: float[samples], logits. platt: the calibration. parts: the `Split`."""
    log_odds, probability = platt.log_odds(scores), platt.probability(scores)
    with writing(path, "w") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for k, members in enumerate(rows):
            values = {
                "repeat": parts.repeat,
                "fold": parts.fold,
                "score": repr(float(scores[k])),
                "log_odds": repr(float(log_odds[k])),
                "probability": repr(float(probability[k])),
            }
            for row in members:
                writer.writerow(row | values)


def read_predictions(folder: Path) -> list[dict[str, str]]:
    """The rows of a finished cell."""
    with stages.verified(Path(folder), "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def gather(path: Path, cells: Iterable[tuple[str, Path]]) -> dict[str, list[dict[str, str]]]:
    """arm -> rows of all its cells, ordered by repeat and record; also writes them to `path` with a first column arm.

    cells: (arm, folder).
    """
    found: dict[str, list] = {}
    for arm, folder in cells:
        found.setdefault(arm, []).extend(read_predictions(folder))
    for rows in found.values():
        rows.sort(key=lambda row: (int(row["repeat"]), int(row["record"])))
    with writing(path, "w") as file:
        writer = csv.DictWriter(file, ("arm", *COLUMNS))
        writer.writeheader()
        for arm, rows in found.items():
            writer.writerows({"arm": arm, **row} for row in rows)
    return found


def training_curve(folder: Path) -> tuple[list[int], list[float]] | None:
    """(iterations, held-out AUC) of a cell, for the paper's Figure 3; None for an arm that has none."""
    lines = [m for m in read_metrics(Path(folder) / "metrics.jsonl") if m.get("held_out_auc") is not None]
    return ([m["step"] for m in lines], [m["held_out_auc"] for m in lines]) if lines else None
