"""One cell of the table: one arm on one fold of one repeat. Begin, train, score, finish: once, for every kind of arm.

A cell lies under the key of all that determines it. Its folder holds stage.json (its key, its recipe, checksums),
metrics.jsonl, selection.json, model.safetensors (all that scoring new files takes), calibration.json and predictions.csv.
While it trains, scratch and checkpoints lie in work/. The held-out AUC of every evaluated epoch is written for the
paper's Figure 3 alone and selects nothing.
"""

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammojax.evaluation.calibration import fit_platt
from mammojax.experiment.arms import Arm
from mammojax.experiment.predictions import write_predictions
from mammojax.experiment.readout import Readout, positions, readout_of
from mammojax.experiment.split import Split
from mammojax.runs import processes, stages, stopping
from mammojax.runs.files import write_json
from mammojax.runs.share import Piece
from mammojax.seeds import stream
from mammojax.settings import has_effect, to_mapping
from mammojax.training import saved

FORM = 10  # raise when training or scoring changes what a cell holds
UNREAD = ("training.checkpoint_every", "training.checkpoint_minutes")  # a resumed cell has the same bits
MODEL_FILE, CALIBRATION_FILE, PREDICTIONS_FILE = "model.safetensors", "calibration.json", "predictions.csv"


@dataclass(frozen=True, eq=False)
class Scored:
    """One trained network: scores float[held_out], out_of_fold float[train] (logits), arrays by name, what was chosen, and
    the mean inner AUC of every candidate."""

    scores: np.ndarray
    out_of_fold: np.ndarray
    arrays: dict[str, np.ndarray]
    chosen: dict
    candidates: dict


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Which samples an exam is read with, sample numbers, -1 for none: the same view of the other breast, and the other
    view of the same breast."""

    partner: np.ndarray
    other_view: np.ndarray


def recipe(arm: Arm, seed: int) -> dict:
    """The settings that a cell of this arm reads, by path, and no others: equal for the cells of one row of the table."""
    tree = to_mapping(arm.settings)
    kept = {
        "stage": arm.stage,
        "objective": arm.objective,
        "seed": seed,
        "data.sample": tree["data"]["sample"],
    }
    sections = {
        "svm": (),
        "maps": ("model", "training"),
        "merged": ("model", "training", "finetune", "augmentation"),
    }[arm.stage]
    if arm.stage != "svm" and ("logistic" not in arm.objective or "auc" in arm.objective):
        sections = (*sections, "loss")
    for section in sections:
        for name, value in tree[section].items():
            if isinstance(value, dict):
                kept |= {f"{section}.{name}.{option}": v for option, v in value.items()}
            else:
                kept[f"{section}.{name}"] = value
    if arm.stage != "svm":  # every objective takes them
        kept["loss.weights"] = tree["loss"]["weights"]
    kept.pop("model.weights", None)  # the network's identity says which
    for often in UNREAD:
        kept.pop(often, None)
    # how scores are read out and averaged is common to all kinds of arms
    kept |= {f"model.{name}": tree["model"][name] for name in ("ensemble", "share", "views")}
    if arm.stage == "merged":
        kept["base"] = arm.base
    return {path: value for path, value in kept.items() if has_effect(arm.settings, path)}


def cell(
    directory: Path,
    arm: Arm,
    parts: Split,
    learn: Callable[[Path, int], Scored],
    *,
    made_from: dict,
    use: dict,
    rows: Callable[[np.ndarray], Sequence[dict]],
    labels: np.ndarray,
    neighbours: Neighbours,
    seed: int,
    together: bool = False,
    say: Callable[[str], None],
) -> Piece:
    """The work of one cell: its attempt gives the folder of the finished cell, made or reused, or None while another
    process makes it.

    learn(folder, seed) -> Scored. made_from: keys of what is read (prepared set, representations, network), JSON. use: what
    scoring new files takes beside the arrays, JSON. rows(sample numbers) -> for each sample the records that get its
    score, dicts with what predictions.csv says of a record. labels: int[samples].
    together: all processes of the program learn, each attempting the same cells in the same order; the first one decides
    and writes.
    """
    arm_recipe = recipe(arm, seed)
    numbers = {
        name: np.asarray(value).tolist()
        for name, value in (("train", parts.train), ("held_out", parts.held_out))
    }
    inner = [watched.tolist() for _, watched in parts.inner]
    key = stages.key(
        recipe=arm_recipe, made_from=made_from, **numbers, inner=inner, repeat=parts.repeat, form=FORM
    )

    def learned(folder: Path) -> list[Scored]:
        # the same stream for every arm: equal starts, equal order of the samples
        here = stream(seed, "repeat", parts.repeat, "fold", parts.fold)
        # each has a place of its own: what one has left there (checkpoints) is none of the next one's
        places = [
            folder,
            *(folder / stages.WORK / f"network_{k}" for k in range(1, arm.settings.model.ensemble)),
        ]
        return [learn(place, stream(here, "network", k)) for k, place in enumerate(places)]

    def make(folder: Path) -> dict:
        if together:
            processes.tell("learn")
        with stopping.by_vote() if together else contextlib.nullcontext():
            networks = learned(folder)
        readouts, calibrations, held_out, out_of_fold = [], [], [], []
        for network in networks:
            readout, inside, outside = _read_out(arm, network, parts, neighbours)
            platt = fit_platt(inside, labels[parts.train])
            readouts.append(readout)
            calibrations.append(platt)
            out_of_fold.append(platt.log_odds(inside))
            held_out.append(outside if len(networks) == 1 else platt.log_odds(outside))
        scores = np.mean(held_out, axis=0)
        final = (
            calibrations[0]
            if len(networks) == 1
            else fit_platt(np.mean(out_of_fold, axis=0), labels[parts.train])
        )
        arrays = {f"network_{k}/{name}": v for k, n in enumerate(networks) for name, v in n.arrays.items()}
        facts = {
            **use,
            "stage": arm.stage,
            "readouts": [r.to_json() for r in readouts],
            "calibrations": [c.to_json() for c in calibrations],
            "calibration": final.to_json(),
        }
        saved.save_arrays(folder / MODEL_FILE, arrays, facts)
        write_json(folder / CALIBRATION_FILE, final.to_json())
        selection = [
            {"chosen": n.chosen, "candidates": {str(c): v for c, v in n.candidates.items()}} for n in networks
        ]
        write_json(folder / "selection.json", selection)
        write_predictions(folder / PREDICTIONS_FILE, rows(parts.held_out), scores, final, parts)
        return {
            "arm": arm.name,
            "repeat": parts.repeat,
            "fold": parts.fold,
            "recipe": arm_recipe,
            "made_from": made_from,
            "chosen": [n.chosen for n in networks],
        }

    what = f"{arm.name} fold {parts.fold}" + (f" of repeat {parts.repeat}" if parts.repeat else "")
    parent = Path(directory) / "cells"

    def attempt() -> Path | None:
        return stages.made(parent, key, make, what=what, say=say, wait=False)

    def attempt_together() -> Path | None:
        if processes.is_first():
            folder = attempt()
            processes.tell("busy" if folder is None else "made")
            return folder
        while (word := processes.hear()) == "learn":
            # what the first one writes as well
            with tempfile.TemporaryDirectory(prefix="mammojax-") as scratch, stopping.by_vote():
                learned(Path(scratch))
        return parent / key if word == "made" else None

    return Piece(parent / key, what, attempt_together if together else attempt)


def _read_out(
    arm: Arm, network: Scored, parts: Split, neighbours: Neighbours
) -> tuple[Readout, np.ndarray, np.ndarray]:
    """(read-out, of the out-of-fold scores, of the held-out scores). Partners are of one fold."""
    inside = _near(neighbours, parts.train)
    views = Readout(views=arm.settings.model.views == "mean")
    readout = readout_of(arm.settings.model, views(network.out_of_fold, *inside))
    return (
        readout,
        readout(network.out_of_fold, *inside),
        readout(network.scores, *_near(neighbours, parts.held_out)),
    )


def _near(neighbours: Neighbours, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return positions(numbers, neighbours.partner), positions(numbers, neighbours.other_view)


def made_by(folder: Path) -> dict:
    """All that determines the networks of a finished cell beside its fold and repeat, by name."""
    facts = stages.finished(folder)
    return {**facts["recipe"], **facts["made_from"]}


def describe_cell(folder: Path, held_out: float, images: int) -> str:
    """One line on a finished cell: its held-out AUC and what was chosen."""
    facts = stages.finished(folder)
    repeat = f" of repeat {facts['repeat']}" if facts["repeat"] else ""
    chosen = ", ".join(f"{name} {value:g}" for name, value in facts["chosen"][0].items())
    return f"{facts['arm']} fold {facts['fold']}{repeat}: held-out AUC {held_out:.3f} ({images} images; {chosen} chosen inside)"
