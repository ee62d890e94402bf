"""Five-fold patient-wise cross-validation of the paper's arms, side by side on the same folds and seeds.

One *cell* of the table is one arm on one fold. Everything that chooses anything (the epoch, the SVM's cost, the
calibration) sees the training folds only; the held-out fold is scored once with what was chosen. The held-out AUC at
every evaluated epoch is kept for the paper's Figure 3 alone and selects nothing.
"""

import csv
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mammojax import run
from mammojax.datasets.folds import stratified_folds
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError
from mammojax.evaluation.baselines import fit_svm
from mammojax.evaluation.calibration import fit_platt
from mammojax.evaluation.statistics import Predictions, auc
from mammojax.seeds import stream
from mammojax.training import saved
from mammojax.training.loop import SELECTION
from mammojax.training.metrics import read_metrics
from mammojax.training.representations import Representations

ARMS = ("resize224_svm", "bce", "weighted_bce", "auc")
COLUMNS = ("record", "patient", "breast", "fold", "label", "score", "log_odds", "probability")
CLASSIFIER_FILE = "classifier.safetensors"
FORM = 1  # raise when training or scoring changes what a cell holds


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained; the same for every arm.

    epochs; batch: samples a step; learning_rate: peak; schedule, warmup, clip: see `make_optimizer`;
    regularisation: lambda of lambda/2 ||W||^2; evaluate_every, checkpoint_every: epochs; inner: one in `inner`
    training patients is kept for selection and calibration; filters, hidden, dropout: the classifier.
    """

    epochs: int
    batch: int
    learning_rate: float
    schedule: str
    warmup: float
    clip: float
    regularisation: float
    evaluate_every: int
    checkpoint_every: int
    inner: int
    filters: tuple[int, ...]
    hidden: tuple[int, ...]
    dropout: float


@dataclass(frozen=True)
class PairLoss:
    """The AUC arm's loss; see `auc_objective`. two_pass_batches: batches a step of `two_pass`, 0 for a whole epoch."""

    pairs: str
    policy: str
    capacity: int
    surrogate: str
    implementation: str
    margin: float
    temperature: float
    two_pass_batches: int = 0


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
    part = stratified_folds(records.patients[inside], records.labels[inside], folds=inner,
                            seed=stream(seed, "inner", fold))  # fmt: skip
    return Split(fold, inside[part != 0], inside[part == 0], np.flatnonzero(fold_of == fold))


def cell_folder(directory: Path, arm: str, fold: int) -> Path:
    """Where a cell lies in the run directory."""
    return Path(directory) / "arms" / arm / f"fold_{fold}"


def train_cell(directory: Path, arm: str, parts: Split, records: RecordSet, representations: Representations, *,
               recipe: Recipe, pair_loss: PairLoss, seed: int, say: Callable[[str], None] = lambda text: None,
               track: Callable = lambda it, **_: it) -> Path:  # fmt: skip
    """Trains one arm on one fold from the representation cache (stage one) and scores the held-out fold.

    Returns the cell's folder with metrics.jsonl, classifier.safetensors, calibration.json and predictions.csv. A
    finished cell of the same key is reused; one of another key is moved aside.
    """
    from mammojax.training import batches as feeding
    from mammojax.training.loop import fit
    from mammojax.training.step import make_optimizer, model_scorer

    folder = cell_folder(directory, arm, parts.fold)
    settings = {"recipe": asdict(recipe), "seed": seed, "representations": representations.folder.name,
                **_split_names(records, parts), "arm": arm, "form": FORM}  # fmt: skip
    if arm == "auc":
        settings["loss"] = asdict(pair_loss)
    if not _begin(folder, run.key(**settings), say):
        return folder
    labels = records.labels
    group = pair_loss.two_pass_batches if arm == "auc" and pair_loss.pairs == "two_pass" else 1
    steps = recipe.epochs * feeding.steps_per_epoch(len(parts.train), batch=recipe.batch, group=group)
    mean, deviation = representations.channel_statistics(parts.train)
    here = stream(seed, "fold", parts.fold)  # the same for every arm: equal starts, equal order of the samples
    model = build_classifier(representations.shape, recipe, seed=stream(here, "classifier"))
    model.set_normalisation(mean, deviation)
    inner, held_out = (list(feeding.evaluation_batches(representations, chosen, labels, batch=recipe.batch))
                       for chosen in (parts.inner, parts.held_out))  # fmt: skip

    def evaluate(score):
        return {
            SELECTION: auc(feeding.score_all(score, inner), labels[parts.inner]),
            "held_out_auc": auc(feeding.score_all(score, held_out), labels[parts.held_out]),  # for Figure 3 alone
        }

    fitted = fit(
        model,
        objective_of(arm, pair_loss, labels=labels[parts.train]),
        make_optimizer(learning_rate=recipe.learning_rate, steps=steps, schedule=recipe.schedule,
                       warmup=recipe.warmup, clip=recipe.clip),
        batches=feeding.representation_batches(representations, parts.train, labels, batch=recipe.batch, group=group,
                                               seed=stream(here, "shuffle")),
        evaluate=evaluate, epochs=recipe.epochs, regularisation=recipe.regularisation, folder=folder,
        seed=stream(here, "reservoir"), evaluate_every=recipe.evaluate_every,
        checkpoint_every=recipe.checkpoint_every, say=say, track=track, description=f"{arm} fold {parts.fold}",
    )  # fmt: skip
    score = model_scorer(fitted.model)
    saved.save_variables(folder / CLASSIFIER_FILE, fitted.model, {"shape": representations.shape, **_shape(recipe)})
    _score_held_out(folder, records, parts, feeding.score_all(score, inner), feeding.score_all(score, held_out))
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # the finished model is kept, the way to it is not
    run.finish(folder, run.key(**settings), arm=arm, fold=parts.fold, epoch=fitted.epoch, step=fitted.step)
    return folder


def baseline_cell(directory: Path, arm: str, parts: Split, records: RecordSet, features: np.ndarray, *,
                  features_key: str, seed: int, say: Callable[[str], None] = lambda text: None) -> Path:  # fmt: skip
    """Baseline 1 on one fold: a linear SVM on whole-image features, its cost chosen inside the training folds.

    features: float32[n, f] of all records. features_key: identifies them. Files as of `train_cell`, with svm.npz.
    """
    folder = cell_folder(directory, arm, parts.fold)
    cell_key = run.key(features=features_key, seed=seed, arm=arm, form=FORM, **_split_names(records, parts))
    if not _begin(folder, cell_key, say):
        return folder
    svm = fit_svm(features[parts.train], records.labels[parts.train], records.patients[parts.train],
                  seed=stream(seed, "svm", parts.fold))  # fmt: skip
    svm.save(folder / "svm.npz")
    _score_held_out(folder, records, parts, svm.scores(features[parts.inner]), svm.scores(features[parts.held_out]))
    run.finish(folder, cell_key, arm=arm, fold=parts.fold, cost=svm.cost)
    return folder


def objective_of(arm: str, pair_loss: PairLoss, *, labels: np.ndarray):
    """The objective of a neural arm; labels: int[n] of its training samples."""
    from mammojax.training import step

    positives = int(labels.sum())
    if arm == "auc":
        form = {k: v for k, v in asdict(pair_loss).items() if k != "two_pass_batches"}
        return step.auc_objective(samples=len(labels), **form)
    if arm == "bce":
        return step.logistic_objective()
    if arm == "weighted_bce":
        return step.weighted_logistic_objective(positives=positives, negatives=len(labels) - positives)
    raise UserError(f"unknown arm {arm!r}; expected some of {', '.join(ARMS)}")


def build_classifier(shape: Sequence[int], recipe: Recipe, *, seed: int):
    """The paper's classifier for representations of `shape` (np, np, c)."""
    from flax import nnx

    from mammojax.models.classifier import Classifier

    return Classifier(shape[-1], shape[0], filters=recipe.filters, hidden=recipe.hidden, dropout=recipe.dropout,
                      rngs=nnx.Rngs(seed))  # fmt: skip


def _shape(recipe: Recipe) -> dict:
    return {"filters": list(recipe.filters), "hidden": list(recipe.hidden), "dropout": recipe.dropout}


def load_classifier(folder: Path):
    """The trained classifier of a finished cell, in evaluation mode."""
    from flax import nnx

    from mammojax.models.classifier import Classifier

    facts = saved.read_facts(folder / CLASSIFIER_FILE)
    model = Classifier(facts["shape"][-1], facts["shape"][0], filters=tuple(facts["filters"]),
                       hidden=tuple(facts["hidden"]), dropout=facts["dropout"], rngs=nnx.Rngs(0))  # fmt: skip
    saved.load_variables(folder / CLASSIFIER_FILE, model)
    model.eval()
    return model


def _begin(folder: Path, cell_key: str, say: Callable[[str], None]) -> bool:
    """False if the cell is finished; otherwise its folder is made ready."""
    name = f"{folder.parent.name} {folder.name.replace('_', ' ')}"
    if run.is_finished(folder, cell_key):
        say(f"{name} is reused")
        return False
    moved = run.claim(folder, cell_key)
    if moved:
        say(f"{name} was made with other settings; its files are kept in {moved}")
    return True


def _split_names(records: RecordSet, parts: Split) -> dict:
    """The records of a split, by what was read: the same pictures in the same roles give the same key."""
    return {
        role: [(records.records[i].record, records.records[i].sha256, int(records.labels[i])) for i in chosen]
        for role, chosen in (("train", parts.train), ("inner", parts.inner), ("held_out", parts.held_out))
    }


def _score_held_out(folder, records, parts, inner_scores, scores) -> None:
    """Calibrates on the inner set and writes calibration.json and predictions.csv."""
    platt = fit_platt(inner_scores, records.labels[parts.inner])
    run.write_json(folder / "calibration.json", platt.to_json())
    with run.writing(folder / "predictions.csv", "w") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for i, score, log_odds in zip(parts.held_out, scores, platt.log_odds(scores)):
            record = records.records[i]
            probability = 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0
            writer.writerow([record.record, record.patient, record.breast, parts.fold, record.label,
                             repr(float(score)), repr(float(log_odds)), repr(probability)])  # fmt: skip


def collect(directory: Path, arms: Sequence[str], folds: int) -> dict[str, Predictions]:
    """The out-of-fold predictions of every arm; also writes predictions.csv with a first column `arm`.

    Raises UserError naming the cells that are missing.
    """
    missing = [f"{arm} fold {k}" for arm in arms for k in range(folds)
               if run.stored_key(cell_folder(directory, arm, k)) is None]  # fmt: skip
    if missing:
        raise UserError(f"{len(missing)} of {len(arms) * folds} cells are not finished ({', '.join(missing[:4])}"
                        f"{', ...' if len(missing) > 4 else ''}); train them first")  # fmt: skip
    gathered, rows = {}, []
    for arm in arms:
        lines = []
        for k in range(folds):
            with (cell_folder(directory, arm, k) / "predictions.csv").open(encoding="utf-8", newline="") as file:
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
            raise UserError(f"the arms in {directory} were trained on different records or folds; run launch.crossval "
                            f"again")  # fmt: skip
    with run.writing(Path(directory) / "predictions.csv", "w") as file:
        writer = csv.writer(file)
        writer.writerow(["arm", *COLUMNS])
        writer.writerows(rows)
    return gathered


def training_curves(directory: Path, arms: Sequence[str], folds: int) -> dict[str, dict[int, tuple]]:
    """arm -> fold -> (iterations, held-out AUC) of the neural arms: the paper's Figure 3."""
    curves: dict[str, dict[int, tuple]] = {}
    for arm in arms:
        for k in range(folds):
            lines = [m for m in read_metrics(cell_folder(directory, arm, k) / "metrics.jsonl")
                     if m.get("held_out_auc") is not None]  # fmt: skip
            if lines:
                curves.setdefault(arm, {})[k] = ([m["step"] for m in lines], [m["held_out_auc"] for m in lines])
    return curves
