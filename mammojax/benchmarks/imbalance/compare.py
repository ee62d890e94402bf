"""The whole comparison: stages shared among processes, then tables, figure and JSON."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mammojax.benchmarks.imbalance.contenders import CONTENDERS
from mammojax.benchmarks.imbalance.figures import imbalance_figure
from mammojax.benchmarks.imbalance.heads import Heads
from mammojax.benchmarks.imbalance.study import FEWEST, SCORES, Design, piece, possible
from mammojax.benchmarks.imbalance.summary import HeldOut, summarise
from mammojax.benchmarks.imbalance.tables import document, share_text
from mammojax.benchmarks.timing import device_name
from mammojax.errors import UserError
from mammojax.experiment import inputs
from mammojax.experiment.arms import arm_of
from mammojax.report.figures import save_palette_png
from mammojax.runs.files import write_json, writing
from mammojax.runs.share import shared
from mammojax.runs.stages import finished, verified
from mammojax.settings import Settings

REFERENCES = ("logistic", "auc")


def compare(
    settings: Settings,
    arm: str,
    names: Sequence[str],
    design: Design,
    out: Path,
    *,
    resamples: int,
    command: str,
    say: Callable[[str], None],
    track: Callable,
) -> str:
    """The document, written to `out` with its figure and numbers. names: of `CONTENDERS`. arm: whose head is trained.

    Shares that leave too few positives are left out, which is said. Raises UserError where none is left.
    """
    chosen_arm = arm_of(settings, arm)
    if chosen_arm.stage != "maps" or chosen_arm.settings.model.classifier not in ("mil", "pooled"):
        raise UserError(
            f"--arm={arm}: expected an arm with a head on dense maps, such as cells_bce or breasts_bce"
        )
    if settings.data.also:
        raise UserError("config.data.also is set; losses are compared on one set, leave it out")
    records = inputs.prepared(settings, say=say, track=track)
    heads = Heads(chosen_arm.settings, records, say=say, track=track)
    samples, splits = heads.samples, heads.splits
    kept = possible(design.shares, splits, samples.labels)
    notes = _notes(chosen_arm, heads, design, kept)
    if not kept:
        raise UserError(
            f"no share of {len(design.shares)} leaves {FEWEST} positives in every training set of "
            f"{min(int(samples.labels[parts.train].sum()) for parts in splits)} or more; give larger --shares"
        )
    design = dataclasses.replace(design, shares=kept)
    for note in notes:
        say(note)

    # fold by fold: the maps of a fold are laid out once for all losses
    work = [(name, parts) for parts in splits for name in names]
    pieces = [
        piece(
            out / "stages",
            name,
            CONTENDERS[name],
            parts,
            design,
            functools.partial(heads.trainer, parts),
            samples.labels,
            made_from=heads.made_from,
            say=say,
            track=track,
        )
        for name, parts in work
    ]
    folders = shared(pieces, say=say, track=track, description="losses and folds")
    found = {(name, parts.fold): folder for (name, parts), folder in zip(work, folders)}
    arrays = {job: dict(np.load(verified(folder, SCORES))) for job, folder in found.items()}
    folds = [
        HeldOut(
            samples.labels[parts.held_out],
            samples.patients[parts.held_out],
            {name: arrays[name, parts.fold]["scores"] for name in names},
        )
        for parts in splits
    ]
    rows = summarise(folds, references=REFERENCES, seed=settings.seed, resamples=resamples)
    left = [_range([round(share * samples.labels[p.train].sum()) for p in splits]) for share in kept]
    chosen = {name: [arrays[name, parts.fold]["chosen"] for parts in splits] for name in names}
    inner = {
        name: np.mean([arrays[name, p.fold]["inner"].max((1, 2)) for p in splits], axis=0) for name in names
    }
    seconds = {name: min(finished(found[name, p.fold])["seconds"] for p in splits) for name in names}
    text = document(
        rows,
        design,
        left=left,
        chosen=chosen,
        inner=inner,
        seconds=seconds,
        notes=[*notes, f"Device: {device_name()}. Times: the least of all calls, a network's share."],
        command=command,
    )
    with writing(out / "imbalance.md", "w") as file:
        file.write(text)
    write_json(
        out / "imbalance.json",
        {
            "design": dataclasses.asdict(design),
            "positives": left,
            "losses": {name: [dataclasses.asdict(row) for row in rows[name]] for name in names},
            "chosen": {name: np.asarray(chosen[name]).tolist() for name in names},
            "inner": {name: inner[name].tolist() for name in names},
            "seconds": seconds,
            "command": command,
        },
    )
    ticks = [f"{share_text(share)}\n{n}" for share, n in zip(kept, left)]
    save_palette_png(imbalance_figure(rows, ticks, notes[0]), out / "imbalance.png")
    return text


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def _notes(arm, heads: Heads, design: Design, kept: Sequence[float]) -> list[str]:
    labels, patients = heads.samples.labels, heads.samples.patients
    contrast = arm.settings.model.contrast in ("channels", "both")
    notes = [
        f"{arm.settings.data.name}: {len(labels)} samples ({arm.settings.data.sample}), {int(labels.sum())} positive, "
        f"{len(np.unique(patients))} patients, {len(heads.splits)} folds; head of {arm.name}"
        f"{', with the other breast as channels' if contrast else ''}, {arm.settings.training.epochs} steps; "
        f"{design.draws} draws",
        f"Chosen for each fold, loss and share: rate of {', '.join(f'{r:g}' for r in design.rates)} and decay of "
        f"{', '.join(f'{d:g}' for d in design.decays)} by the mean AUC of {design.trials} trials (a draw and an inner "
        f"fold each; the fitted part is thinned, the watched part is not). Means over folds and draws; 95% intervals over "
        f"patients and draws.",
    ]
    dropped = [share_text(share) for share in design.shares if share not in kept]
    if dropped:
        notes.append(
            f"Left out, fewer than {FEWEST} positives would be in a training set: {', '.join(dropped)}."
        )
    return notes
