"""Patient-wise cross-validation of arms side by side on the same folds and seeds: what launchers and notebooks call.

Everything that chooses anything (epoch, cost, calibration) sees the training folds only; the held-out fold is scored once
with what was chosen. See `fit` for one arm on one fold.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mammojax.datasets import accounts
from mammojax.datasets.builders import BUILDERS
from mammojax.datasets.labels import SCHEMES
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError
from mammojax.experiment import inputs
from mammojax.experiment.arms import ARMS, Arm, arm_of
from mammojax.experiment.cells import Experiment
from mammojax.experiment.fit import UNREAD, describe_cell, recipe
from mammojax.experiment.predictions import read_predictions
from mammojax.experiment.table import Entry, Table, write_table
from mammojax.models.backbones import BACKBONES
from mammojax.models.classifiers import CLASSIFIERS, classifier_module
from mammojax.runs import processes
from mammojax.runs.environment import record_settings
from mammojax.runs.share import Piece, shared
from mammojax.settings import Settings, check_arms, check_names, further_sets, notes, to_mapping
from mammojax.settings.read import own_settings
from mammojax.training.objectives import OBJECTIVES


@dataclass(frozen=True, eq=False)
class Cell:
    """One finished cell of the table."""

    arm: Arm
    repeat: int
    fold: int
    folder: Path


@dataclass(frozen=True, eq=False)
class Run:
    """A finished cross-validation: its settings, its arms in the order of the table, its cells and its data."""

    settings: Settings
    arms: tuple[Arm, ...]
    cells: tuple[Cell, ...]
    records: RecordSet

    @property
    def directory(self) -> Path:
        """The run directory."""
        return Path(self.settings.run)

    @property
    def proposed(self) -> str:
        """The arm that differences are taken from: as set, where it is one of these arms, or the last one."""
        names, wanted = [arm.name for arm in self.arms], self.settings.crossval.proposed
        return wanted if wanted in names else names[-1]


def tables() -> dict[str, tuple[str, ...]]:
    """What the names in the settings are looked up in."""
    from mammojax.losses.surrogates import SURROGATES

    return {
        "builders": tuple(BUILDERS),
        "label_schemes": tuple(SCHEMES),
        "backbones": tuple(BACKBONES),
        "classifiers": tuple(CLASSIFIERS),
        "surrogates": tuple(SURROGATES),
        "arms": tuple(ARMS),
    }


def checked(settings: Settings) -> tuple[Arm, ...]:
    """The arms of the table. UserError for whatever could be found wrong before anything is prepared."""
    from mammojax.models.merged import check_frozen
    from mammojax.models.plans import backbone_module

    check_names(settings, tables())
    arms = tuple(arm_of(settings, text) for text in settings.crossval.arms)
    check_arms(settings, {arm.name: arm.settings for arm in arms}, **_kinds(arms))
    for one in further_sets(settings):
        check_names(one, tables())
    for arm in arms:
        if not _is_colour(arm.colour):
            raise UserError(
                f"the arm {arm.name} has the colour {arm.colour!r}; expected one that matplotlib knows, such as #0072b2"
            )
        # all that an arm reads, an SVM too, of whose fields `check_arms` does not know
        read = recipe(arm, settings.seed)
        for path in own_settings(settings, arm.name):
            if path.partition(".")[0] in ("training", "loss", "finetune") and path not in (*read, *UNREAD):
                raise UserError(
                    f"in the arm {arm.name}, config.{path} has no effect: such an arm does not read it; leave it out there"
                )
        if settings.data.also and arm.stage != "maps":
            raise UserError(
                f"the arm {arm.name} has no units of its own for each of several sets (config.data.also); leave the arm out"
            )
        if settings.data.sample != "image" and arm.stage != "maps":
            raise UserError(
                f"the arm {arm.name} scores images, and config.data.sample is {settings.data.sample}; leave the arm out, "
                f"or set config.data.sample=image"
            )
        classifier = arm.settings.model.classifier
        if settings.data.sample != "image" and classifier_module(classifier).SPATIAL:
            raise UserError(
                f"the classifier {classifier} of the arm {arm.name} reads the map of one image, and config.data.sample is "
                f"{settings.data.sample}; set config.data.sample=image, or config.model.classifier=mil"
            )
        backbone, tap = backbone_module(arm.settings.model.backbone).BACKBONE, arm.settings.model.tap
        taps = [one.name for one in backbone.taps]
        if tap and tap not in taps:
            own = f"{arm.name}{',' if ':' in arm.name else ':'}model.tap={taps[0]}"
            raise UserError(
                f"the arm {arm.name} reads the layer {tap}, and {arm.settings.model.backbone} has {', '.join(taps)}; choose one "
                f"of them: {own!r}"
            )
        if arm.is_finetuned:
            check_frozen(arm.settings.finetune.frozen, backbone)
    models = [arm.settings.model for arm in arms]
    networks = {(m.backbone, m.tap, m.weights): arm.settings for m, arm in zip(models, arms)}
    for one in networks.values():
        inputs.network(one)  # weights that are absent are said before anything is prepared
    return arms


def _is_colour(text: str) -> bool:
    if re.fullmatch("#[0-9a-f]{6}", text):
        return True
    from matplotlib.colors import is_color_like  # takes a while to load

    return is_color_like(text)


def _kinds(arms: Sequence[Arm]) -> dict:
    """What `check_arms` and `notes` have to know of the arms beside their settings."""
    return {
        "trained": {arm.name: OBJECTIVES[arm.objective].takes for arm in arms if arm.stage != "svm"},
        "finetuned": [arm.name for arm in arms if arm.is_finetuned],
    }


def crossval(
    settings: Settings,
    *,
    arms: Sequence[str] = (),
    folds: Sequence[int] = (),
    table: bool = True,
    profile: tuple[int, int] | None = None,
    say: Callable[[str], None] = print,
    track: Callable = lambda it, **_: it,
) -> Run:
    """Prepares, scans and trains every arm on every fold of every repeat; what is finished is reused.

    arms, folds: only these of the table's, by name and number; empty for all. table: whether the run directory's table
    is to be made of these cells. profile: see `Pace`. say(text) prints a line; track(iterable,
    total=, description=) shows progress. Several processes with the same settings share the cells out among them.
    Raises UserError for what a user can mend.
    """
    known = checked(settings)
    for note in notes(settings, {arm.name: arm.settings for arm in known}, **_kinds(known)):
        say(f"note: {note}")
    names = [arm.name for arm in known]
    absent = [name for name in arms if name not in names]
    if absent:
        raise UserError(
            f"no arm {', '.join(absent)} in config.crossval.arms; expected some of {', '.join(names)}"
        )
    chosen = [arm for arm in known if not arms or arm.name in arms]
    if any(not 0 <= fold < settings.crossval.folds for fold in folds):
        raise UserError(
            f"fold {', '.join(map(str, folds))}, expected 0 to {settings.crossval.folds - 1} (config.crossval.folds)"
        )
    directory = Path(settings.run)
    if table:
        record_settings(directory, to_mapping(settings))
    records = inputs.prepared(settings, say=say, track=track)
    describe(settings, records, say)
    say(inputs.placement(settings))
    experiment = Experiment(settings, records, profile=profile, say=say, track=track)
    work = [(arm, parts) for arm in chosen for parts in experiment.splits if not folds or parts.fold in folds]
    made, end = {}, _End(len(work))
    for together in (False, True):  # what any process does by itself, then what all of them do at once
        jobs = [k for k, job in enumerate(work) if experiment.is_together(*job) == together]
        pieces = [_told(experiment.cell(*work[k]), end, say) for k in jobs]
        made |= zip(jobs, shared(pieces, say=say, track=track, description="cells of the table"))
    experiment.over()
    made = [made[k] for k in range(len(work))]
    done = tuple(Cell(arm, parts.repeat, parts.fold, folder) for (arm, parts), folder in zip(work, made))
    run = Run(settings, tuple(chosen), done, records)
    if table and processes.is_first():
        entries = {arm.name: [] for arm in chosen}
        for cell in done:
            entries[cell.arm.name].append(Entry(cell.repeat, cell.fold, cell.folder.name))
        titles, colours = ({arm.name: getattr(arm, name) for arm in chosen} for name in ("title", "colour"))
        sets = {
            name: [record.number for record, of in zip(records.records, records.sets) if of == k]
            for k, name in enumerate(records.set_names)
        }
        sets = sets if len(sets) > 1 else {}
        write_table(Table(directory, entries, titles, colours, run.proposed, to_mapping(settings), sets))
    return run


class _End:
    """When all cells will be there, from those that took time so far (a reused one takes none)."""

    def __init__(self, cells: int):
        self._left, self._made, self._spent = cells, 0, 0.0

    def after(self, seconds: float) -> str:
        """A cell is there, `seconds` after it was begun: the words that follow in its line."""
        self._left -= 1
        if seconds > 1:  # what came before any cell is not counted: a scan takes as long as many of them
            self._made += 1
            self._spent += seconds
        if not self._left or not self._made:
            return ""
        left = self._spent / self._made * self._left
        cells = "1 cell" if self._left == 1 else f"{self._left} cells"
        return f"; {cells} left, until about {time.strftime('%a %H:%M', time.localtime(time.time() + left))}"


def _told(piece: Piece, end: _End, say: Callable[[str], None]) -> Piece:
    """The same work, whose result is said."""

    def attempt() -> Path | None:
        began = time.monotonic()
        folder = piece.attempt()
        if folder is not None and processes.is_first():
            later = end.after(time.monotonic() - began)
            say(describe_cell(folder, *held_out_auc(folder)) + later)
        return folder

    return piece._replace(attempt=attempt)


def held_out_auc(folder: Path) -> tuple[float, int]:
    """(AUC, images) of a cell's predictions."""
    from mammojax.evaluation.metrics import auc

    rows = read_predictions(folder)
    return auc([float(r["score"]) for r in rows], [int(r["label"]) for r in rows]), len(rows)


def describe(settings: Settings, records: RecordSet, say: Callable[[str], None]) -> None:
    """Says the account of a prepared set and leaves a copy of it in the run directory."""
    ledger = accounts.read_accounts(records.directory)
    accounts.write_accounts(Path(settings.run), ledger)
    tally = accounts.counts(ledger)
    say(
        f"{records.name} ({records.scheme}): {len(records)} images of {len(set(records.patients))} patients, "
        f"{int(records.labels.sum())} positive; files found {tally['found']} = used {tally['used']} + dropped "
        f"{tally['dropped']} + rejected {tally['rejected']}"
    )
    for fate, reason, n in accounts.reasons(ledger)[:5]:
        say(f"  {fate} {n}: {reason}")
    who = Counter(a.patient_from for a in ledger if a.fate == "used")
    warned = sum(bool(a.warnings) for a in ledger)
    say(
        f"patients by the {' and the '.join(f'{whom} ({n} files)' for whom, n in sorted(who.items()))}; "
        f"files with warnings: {warned} (accounts.csv)"
    )
    if records.depth:
        say(f"16-bit PNG, TIFF and PGM files that do not state their depth: {records.depth} bits")
    for one in records.parts or (records,):
        say(f"boxes to look at: {one.directory / 'contact_sheets'}")
