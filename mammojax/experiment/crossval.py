"""Patient-wise cross-validation of arms side by side on the same folds and seeds: what launchers and notebooks call.

Everything that chooses anything (epoch, cost, calibration) sees the training folds only; the held-out fold is scored once
with what was chosen. See `fit` for one arm on one fold.
"""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammojax.datasets import accounts
from mammojax.datasets import samples as sampling
from mammojax.datasets.builders import BUILDERS
from mammojax.datasets.folds import refuse_shared_pictures
from mammojax.datasets.labels import SCHEMES
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError
from mammojax.experiment import fit, inputs
from mammojax.experiment.arms import ARMS, Arm, arm_of, base_arm
from mammojax.experiment.finetune import MergedLearner
from mammojax.experiment.fit import Scored, describe_cell
from mammojax.experiment.maps import RESIDENT, MapLearner
from mammojax.experiment.predictions import read_predictions
from mammojax.experiment.split import Split, splits
from mammojax.experiment.svm import fit_svm
from mammojax.experiment.table import Entry, Table, write_table
from mammojax.models.backbones import BACKBONES
from mammojax.models.classifiers import CLASSIFIERS, classifier_module
from mammojax.representations.bags import Bags
from mammojax.representations.statistics import ChannelSums
from mammojax.runs.environment import record_settings
from mammojax.runs.files import write_json
from mammojax.runs.share import Piece, shared
from mammojax.settings import Settings, check_arms, check_names, notes, to_mapping
from mammojax.training.objectives import OBJECTIVES
from mammojax.training.saved import arrays_of


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
        """The arm that differences are taken from: as set, or the last one."""
        return self.settings.crossval.proposed or self.arms[-1].name


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
    check_arms(
        settings,
        {arm.name: arm.settings for arm in arms},
        trained=[arm.name for arm in arms if arm.stage != "svm"],
        finetuned=[arm.name for arm in arms if arm.is_finetuned],
    )
    for arm in arms:
        if settings.data.sample != "image" and arm.stage != "maps":
            raise UserError(
                f"the arm {arm.name} scores images, and config.data.sample is {settings.data.sample}; leave the arm out, "
                f"or set config.data.sample=image"
            )
        if arm.is_finetuned:
            check_frozen(arm.settings.finetune.frozen, backbone_module(arm.settings.model.backbone).BACKBONE)
        inputs.network(arm.settings)  # weights that are absent are said before anything is prepared
    return arms


def crossval(
    settings: Settings,
    *,
    arms: Sequence[str] = (),
    folds: Sequence[int] = (),
    table: bool = True,
    say: Callable[[str], None] = print,
    track: Callable = lambda it, **_: it,
) -> Run:
    """Prepares, scans and trains every arm on every fold of every repeat; what is finished is reused.

    arms, folds: only these of the table's, by name and number; empty for all. table: whether the run directory's table
    is to be made of these cells. say(text) prints a line; track(iterable,
    total=, description=) shows progress. Several processes with the same settings share the cells out among them.
    Raises UserError for what a user can mend.
    """
    known = checked(settings)
    for note in notes(settings, {arm.name: arm.settings for arm in known}):
        say(f"note: {note}")
    chosen = [arm for arm in known if not arms or arm.name in arms]
    if arms and len(chosen) < len(arms):
        raise UserError(
            f"no arm {set(arms) - {a.name for a in known}} in config.crossval.arms; expected some of "
            f"{', '.join(arm.name for arm in known)}"
        )
    if any(fold >= settings.crossval.folds for fold in folds):
        raise UserError(
            f"fold {max(folds)}, expected 0 to {settings.crossval.folds - 1} (config.crossval.folds)"
        )
    directory = Path(settings.run)
    if table:
        record_settings(directory, to_mapping(settings))
    records = inputs.prepared(settings, say=say, track=track)
    describe(settings, records, say)
    experiment = Experiment(settings, records, say=say, track=track)
    work = [(arm, parts) for arm in chosen for parts in experiment.splits if not folds or parts.fold in folds]
    pieces = [_told(experiment.cell(*job), say) for job in work]
    made = shared(pieces, say=say, track=track, description="cells of the table")
    done = tuple(Cell(arm, parts.repeat, parts.fold, folder) for (arm, parts), folder in zip(work, made))
    run = Run(settings, tuple(chosen), done, records)
    if table:
        entries = {arm.name: [] for arm in chosen}
        for cell in done:
            entries[cell.arm.name].append(Entry(cell.repeat, cell.fold, cell.folder.name))
        titles, colours = ({arm.name: getattr(arm, name) for arm in chosen} for name in ("title", "colour"))
        write_table(Table(directory, entries, titles, colours, run.proposed))
    return run


def _told(piece: Piece, say: Callable[[str], None]) -> Piece:
    """The same work, whose result is said."""

    def attempt() -> Path | None:
        folder = piece.attempt()
        if folder is not None:
            say(describe_cell(folder, *held_out_auc(folder)))
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
    say(f"boxes to look at: {records.directory / 'contact_sheets'}")


class Experiment:
    """The cells of one table over one prepared set; what several cells read is made once."""

    def __init__(self, settings: Settings, records: RecordSet, *, say: Callable, track: Callable):
        self._settings, self._records, self._say, self._track = settings, records, say, track
        self._samples = sampling.samples(records, settings.data.sample)
        self._partner, other = sampling.partner(records), sampling.other_view(records)
        self._neighbours = inputs.neighbours(self._samples, self._partner, other)
        table = settings.crossval
        self.splits: list[Split] = [
            parts
            for repeat in range(table.repeats)
            for parts in splits(
                self._samples,
                folds=table.folds,
                inner=settings.training.inner,
                seed=settings.seed,
                repeat=repeat,
            )
        ]
        folds = {f"repeat {repeat}": self._folds(repeat) for repeat in range(table.repeats)}
        write_json(Path(settings.run) / "folds.json", {"seed": settings.seed, "folds": folds})
        self._maps = inputs.MapsCache(RESIDENT)
        self._networks, self._represented, self._sums, self._features = {}, {}, {}, {}

    def _folds(self, repeat: int) -> dict[str, int]:
        """The fold of every record, by its number. UserError where one picture lies in two folds, under two patients."""
        fold_of = np.empty(len(self._records), np.int32)
        for parts in self.splits:
            for k in parts.held_out if parts.repeat == repeat else ():
                fold_of[self._samples.members[k]] = parts.fold
        refuse_shared_pictures(self._records, fold_of)
        return {str(r.number): int(fold) for r, fold in zip(self._records.records, fold_of)}

    def cell(self, arm: Arm, parts: Split) -> Piece:
        """The work of an arm on a fold; see `fit.cell`."""
        learn, made_from = {"svm": self._svm, "maps": self._stage_one, "merged": self._stage_two}[arm.stage](
            arm, parts
        )
        settings = arm.settings
        network = self._network(settings)
        use = {
            "arm": arm.name,
            "backbone": network.backbone.name,
            "tap": network.tap,
            "weights": settings.model.weights,
            "seed": self._settings.seed,
            "network": network.identity,
            "reading": inputs.reading(settings),
            "intensity": settings.model.intensity,
            "precision": settings.model.precision,
            "cache": settings.scan.cache,
            "contrast": settings.model.contrast,
            "classifier": settings.model.classifier,
            "options": to_mapping(settings)["model"].get(settings.model.classifier, {}),
            "sample": settings.data.sample,
            "margin": settings.data.margin,
            "depth": self._records.depth,
            "for_processing": settings.data.for_processing,
        }
        return fit.cell(
            Path(self._settings.run),
            arm,
            parts,
            learn,
            made_from={"prepared": self._records.directory.name, "network": network.identity, **made_from},
            use=use,
            rows=self._rows,
            labels=self._samples.labels,
            neighbours=self._neighbours,
            seed=self._settings.seed,
            say=self._say,
        )

    def _rows(self, numbers: np.ndarray) -> list[list[dict]]:
        patients = self._records.patients
        breasts = {(int(p), r.breast): None for p, r in zip(patients, self._records.records)}
        breast_number = {breast: k + 1 for k, breast in enumerate(breasts)}

        def row(i: int) -> dict:
            r = self._records.records[i]
            return {
                "record": r.number,
                "file": r.record,
                "patient": int(patients[i]) + 1,
                "breast": breast_number[int(patients[i]), r.breast],
                "laterality": r.laterality,
                "view": r.view,
                "label": r.label,
                "geometry": r.geometry,
            }

        return [[row(int(i)) for i in self._samples.members[int(k)]] for k in numbers]

    def _network(self, settings: Settings):
        model = settings.model
        key = (model.backbone, model.tap, model.weights)
        if key not in self._networks:
            self._networks[key] = inputs.network(settings)
            self._say(f"scanning network: {self._networks[key].provenance}")
        return self._networks[key]

    def _representations(self, settings: Settings):
        key = repr((settings.model.backbone, settings.model.tap, settings.model.weights, settings.model.precision,
                    settings.model.intensity, inputs.reading(settings), settings.scan, settings.augmentation))  # fmt: skip
        if key not in self._represented:
            made = inputs.represented(
                settings, self._records, self._network(settings), say=self._say, track=self._track
            )
            self._represented[key] = made
        return self._represented[key]

    def _svm(self, arm: Arm, parts: Split):
        from mammojax.representations.whole_image import whole_image_features

        network = self._network(arm.settings)
        if network.identity not in self._features:
            self._features[network.identity] = whole_image_features(
                self._records, network, inputs.cache_folder(arm.settings), track=self._track, say=self._say
            )
        features, key = self._features[network.identity]

        def learn(folder: Path, seed: int) -> Scored:
            found = fit_svm(features, self._samples.labels, parts)
            arrays = {name: np.asarray(value) for name, value in vars(found.scorer).items()}
            scores = found.scorer.scores(features[parts.held_out])
            return Scored(scores, found.out_of_fold, arrays, {"C": found.cost}, found.cost_aucs)

        return learn, {"features": key}

    def _map_learner(self, arm: Arm, parts: Split) -> MapLearner:
        settings = arm.settings
        made = self._representations(settings)
        module = classifier_module(settings.model.classifier)
        if made.key not in self._sums:
            self._sums[made.key] = ChannelSums(made)
        records = np.concatenate([self._samples.members[k] for k in parts.train])
        mean, deviation = self._sums[made.key].of(records)
        channels = settings.model.contrast in ("channels", "both")
        make = functools.partial(
            Bags,
            made,
            self._samples.members,
            spatial=module.SPATIAL,
            mean=mean,
            deviation=deviation,
            partner=self._partner if channels else None,
        )
        key = (made.key, module.SPATIAL, (parts.repeat, parts.fold) if channels else None)
        bags, maps = self._maps.bags(key, make)
        if not channels:  # the maps are those of any fold, their normalisation is not
            bags = make()
        options = getattr(settings.model, settings.model.classifier, None)

        def build(seed: int):
            from flax import nnx

            return module.build(bags.shape, options, rngs=nnx.Rngs(seed))

        group = settings.loss.two_pass_batches if _two_pass(arm) else 1
        return MapLearner(
            bags,
            maps,
            self._samples.labels,
            build=build,
            objective=OBJECTIVES[arm.objective](**_pair(settings)),
            training=settings.training,
            group=group,
            say=self._say,
            track=self._track,
        )

    def _stage_one(self, arm: Arm, parts: Split):
        key = self._representations(arm.settings).key

        def learn(folder: Path, seed: int) -> Scored:
            name = f"{arm.name} fold {parts.fold}"
            found = self._map_learner(arm, parts).learn(parts, folder, seed=seed, name=name)
            arrays = arrays_of(found.model, "classifier/")
            return Scored(found.scores, found.out_of_fold, arrays, {"epoch": found.epoch}, found.inner_auc)

        return learn, {"representations": key}

    def _stage_two(self, arm: Arm, parts: Split):
        from mammojax.representations.scan import record_plans

        settings = arm.settings
        network = self._network(settings)

        def learn(folder: Path, seed: int) -> Scored:
            learner = MergedLearner(
                self._records,
                self._samples.labels,
                self._map_learner(base_arm(arm), parts),
                network=network,
                plans=record_plans(self._records, network, **inputs.reading(settings)),
                objective=OBJECTIVES[arm.objective](**_pair(settings)),
                training=settings.training,
                finetune=settings.finetune,
                augmentation=inputs.augmentation(settings),
                intensity=settings.model.intensity,
                precision=settings.model.precision,
                workers=settings.scan.workers,
                say=self._say,
                track=self._track,
            )
            found = learner.learn(parts, folder, seed=seed, name=f"{arm.name} fold {parts.fold}")
            return Scored(
                found.scores,
                found.out_of_fold,
                arrays_of(found.model),
                {"epoch": found.epoch},
                found.inner_auc,
            )

        return learn, {"representations": self._representations(settings).key}


PAIR_LOSS = (
    "pairs", "policy", "capacity", "surrogate", "implementation", "margin", "temperature", "correct_drift",
)  # fmt: skip


def _pair(settings: Settings) -> dict:
    return {name: getattr(settings.loss, name) for name in PAIR_LOSS}


def _two_pass(arm: Arm) -> bool:
    return "auc" in arm.objective and arm.settings.loss.pairs == "two_pass"
