"""One cell of the table: one arm on one fold, trained, calibrated and scored on its held-out fold.

A cell's folder holds stage.json (its key), metrics.jsonl, the trained model, calibration.json and predictions.csv. While
it trains it also holds checkpoints/. The held-out AUC of every evaluated epoch is written for the paper's Figure 3 alone
and selects nothing.
"""

import copy
import csv
import functools
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mammojax.datasets.pipeline import Augmentation
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError
from mammojax.evaluation.calibration import fit_platt
from mammojax.evaluation.metrics import auc
from mammojax.experiment.split import COLUMNS, Split, cell_folder
from mammojax.experiment.svm import fit_svm
from mammojax.representations.scan import Representations
from mammojax.runs import stages
from mammojax.runs.files import read_json, write_json, writing
from mammojax.seeds import stream
from mammojax.training import batches as feeding
from mammojax.training import saved
from mammojax.training.loop import SELECTION, fit
from mammojax.training.step import (
    Objective,
    auc_objective,
    logistic_objective,
    make_optimizer,
    model_scorer,
    weighted_logistic_objective,
)

BASELINE = "resize224_svm"  # baseline 1 of the paper
LOSSES = ("bce", "weighted_bce", "auc")  # baseline 2, its class-weighted form, the proposed method
FINETUNED = "_finetuned"  # suffix: stage two on top of the arm of this name
ARMS = (BASELINE, *LOSSES, *(name + FINETUNED for name in LOSSES))
CLASSIFIER_FILE, MERGED_FILE, SVM_FILE = "classifier.safetensors", "merged.safetensors", "svm.npz"
FORM = 2  # raise when training or scoring changes what a cell holds


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
    """The AUC arm's loss; see `auc_objective`. two_pass_batches: batches a step of `two_pass` in stage one, 0 for a whole
    epoch."""

    pairs: str
    policy: str
    capacity: int
    surrogate: str
    implementation: str
    margin: float
    temperature: float
    two_pass_batches: int = 0


@dataclass(frozen=True)
class Finetuning:
    """Stage two: epochs, images in a batch, peak learning rate, and the factor of it for the scanning network.

    frozen: layers of the scanning network, from the pixels on, that are not trained; see `freeze`. microbatches: batches
    whose images share one loss and make one step, of any plans and with the memory of one; 0 for all of an epoch.
    """

    epochs: int
    batch: int
    learning_rate: float
    scanning_rate: float
    frozen: int = 0
    microbatches: int = 1


def check_arm(arm: str) -> None:
    """UserError for an unknown arm."""
    if arm not in ARMS:
        raise UserError(f"unknown arm {arm!r}; expected some of {', '.join(ARMS)}")


def check_settings(recipe: Recipe, pair_loss: PairLoss) -> None:
    """UserError for settings that would fail only after hours of preparation and scanning."""
    for name in ("epochs", "batch", "evaluate_every", "checkpoint_every"):
        if getattr(recipe, name) < 1:
            raise UserError(f"config.training.{name} is {getattr(recipe, name)}; expected at least 1")
    if recipe.inner < 2:
        raise UserError(f"config.training.inner is {recipe.inner}; expected at least 2 parts")
    make_optimizer(
        learning_rate=recipe.learning_rate, steps=1, schedule=recipe.schedule, warmup=recipe.warmup
    )
    two = np.asarray([0, 1])
    try:
        objective = objective_of("auc", pair_loss, labels=two)
        objective.loss(np.zeros(2, np.float32), feeding.Batch(None, two, two, two >= 0), objective.buffers)
    except ValueError as error:
        raise UserError(f"config.loss: {error}") from error


def check_finetuning(finetuning: Finetuning, backbone: str) -> None:
    """UserError for settings of stage two that a network on this backbone cannot be trained with."""
    from mammojax.models.merged import check_frozen
    from mammojax.models.plans import backbone_module

    for name, least in (("epochs", 0), ("batch", 1), ("scanning_rate", 0), ("microbatches", 0)):
        if getattr(finetuning, name) < least:
            raise UserError(
                f"config.finetune.{name} is {getattr(finetuning, name)}; expected at least {least}"
            )
    check_frozen(finetuning.frozen, backbone_module(backbone).BACKBONE)


def describe_cell(folder: Path) -> str:
    """One line on a finished cell: its held-out AUC and what was chosen."""
    facts = read_json(folder / stages.STAGE_FILE)
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    value = auc(np.asarray([float(r["score"]) for r in rows]), np.asarray([int(r["label"]) for r in rows]))
    chosen = f"epoch {facts['epoch']}" if "epoch" in facts else f"C = {facts['cost']:g}"
    return f"{facts['arm']} fold {facts['fold']}: held-out AUC {value:.3f} ({len(rows)} images; {chosen} chosen inside)"


def train_cell(
    directory: Path,
    arm: str,
    parts: Split,
    records: RecordSet,
    representations: Representations,
    *,
    recipe: Recipe,
    pair_loss: PairLoss,
    seed: int,
    say: Callable[[str], None] = lambda text: None,
    track: Callable = lambda it, **_: it,
) -> Path:
    """Trains one arm on one fold from the representation cache (stage one) and scores the held-out fold.

    Returns the cell's folder with metrics.jsonl, classifier.safetensors, calibration.json and predictions.csv. A
    finished cell of the same key is reused; one of another key is moved aside.
    """
    folder = cell_folder(directory, arm, parts.fold)
    settings = {
        "recipe": asdict(recipe),
        "seed": seed,
        "representations": representations.folder.name,
        **_split_names(records, parts),
        "arm": arm,
        "form": FORM,
    }
    if arm == "auc":
        settings["loss"] = asdict(pair_loss)
    if not _begin(folder, stages.key(**settings), say):
        return folder
    labels = records.labels
    group = pair_loss.two_pass_batches if arm == "auc" and pair_loss.pairs == "two_pass" else 1
    steps = recipe.epochs * feeding.steps_per_epoch(len(parts.train), batch=recipe.batch, group=group)
    mean, deviation = representations.channel_statistics(parts.train)
    here = stream(
        seed, "fold", parts.fold
    )  # the same for every arm: equal starts, equal order of the samples
    model = build_classifier(representations.shape, recipe, seed=stream(here, "classifier"))
    model.set_normalisation(mean, deviation)
    inner, held_out = (
        list(feeding.evaluation_batches(representations, chosen, labels, batch=recipe.batch))
        for chosen in (parts.inner, parts.held_out)
    )

    def evaluate(score):
        return {
            SELECTION: auc(feeding.score_all(score, inner), labels[parts.inner]),
            "held_out_auc": auc(
                feeding.score_all(score, held_out), labels[parts.held_out]
            ),  # for Figure 3 alone
        }

    fitted = fit(
        model,
        objective_of(arm, pair_loss, labels=labels[parts.train]),
        make_optimizer(
            learning_rate=recipe.learning_rate,
            steps=steps,
            schedule=recipe.schedule,
            warmup=recipe.warmup,
            clip=recipe.clip,
        ),
        batches=feeding.representation_batches(
            representations,
            parts.train,
            labels,
            batch=recipe.batch,
            group=group,
            seed=stream(here, "shuffle"),
        ),
        evaluate=evaluate,
        epochs=recipe.epochs,
        regularisation=recipe.regularisation,
        folder=folder,
        seed=stream(here, "reservoir"),
        evaluate_every=recipe.evaluate_every,
        checkpoint_every=recipe.checkpoint_every,
        say=say,
        track=track,
        description=f"{arm} fold {parts.fold}",
    )
    score = model_scorer(fitted.model)
    saved.save_variables(
        folder / CLASSIFIER_FILE, fitted.model, {"shape": representations.shape, **_shape(recipe)}
    )
    _score_held_out(
        folder, records, parts, feeding.score_all(score, inner), feeding.score_all(score, held_out)
    )
    shutil.rmtree(
        folder / "checkpoints", ignore_errors=True
    )  # the finished model is kept, the way to it is not
    stages.finish(
        folder, stages.key(**settings), arm=arm, fold=parts.fold, epoch=fitted.epoch, step=fitted.step
    )
    return folder


def baseline_cell(
    directory: Path,
    arm: str,
    parts: Split,
    records: RecordSet,
    features: np.ndarray,
    *,
    features_key: str,
    seed: int,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Baseline 1 on one fold: a linear SVM on whole-image features, its cost chosen inside the training folds.

    features: float32[n, f] of all records. features_key: identifies them. Files as of `train_cell`, with svm.npz.
    """
    folder = cell_folder(directory, arm, parts.fold)
    cell_key = stages.key(
        features=features_key, seed=seed, arm=arm, form=FORM, **_split_names(records, parts)
    )
    if not _begin(folder, cell_key, say):
        return folder
    svm = fit_svm(
        features[parts.train],
        records.labels[parts.train],
        records.patients[parts.train],
        seed=stream(seed, "svm", parts.fold),
    )
    svm.save(folder / SVM_FILE)
    _score_held_out(
        folder, records, parts, svm.scores(features[parts.inner]), svm.scores(features[parts.held_out])
    )
    stages.finish(folder, cell_key, arm=arm, fold=parts.fold, cost=svm.cost)
    return folder


def finetune_cell(
    directory: Path,
    arm: str,
    parts: Split,
    records: RecordSet,
    network,
    plans: Sequence,
    *,
    recipe: Recipe,
    pair_loss: PairLoss,
    finetuning: Finetuning,
    augmentation: Augmentation,
    seed: int,
    precision: str = "float32",
    workers: int = 0,
    say: Callable[[str], None] = lambda text: None,
    track: Callable = lambda it, **_: it,
) -> Path:
    """Stage two on top of a finished stage-one cell: both networks merged in one graph and trained from pixels.

    arm: such as "auc_finetuned". network: the pretrained scanning network (not changed). plans: of every record.
    precision: of its products, as of `scan_records`. Files as of `train_cell`, with merged.safetensors.
    """
    from mammojax.models.merged import MammogramNet, freeze

    base = arm.removesuffix(FINETUNED)
    start = cell_folder(directory, base, parts.fold)
    folder = cell_folder(directory, arm, parts.fold)
    loss = asdict(pair_loss) if base == "auc" else None
    cell_key = stages.key(
        start=stages.stored_key(start),
        finetuning=asdict(finetuning),
        augmentation=vars(augmentation),
        network=network.identity,
        loss=loss,
        seed=seed,
        precision=precision,
        form=FORM,
    )
    if not _begin(folder, cell_key, say):
        return folder
    labels = records.labels
    here = stream(seed, "finetune", parts.fold)
    scanning = copy.deepcopy(network)
    freeze(scanning, finetuning.frozen)
    model = MammogramNet(scanning, load_classifier(start), dtype=precision)
    feed = functools.partial(
        feeding.pixel_batches, records, labels=labels, plans=plans, batch=finetuning.batch, workers=workers
    )

    def plain(chosen):
        return (batch for (batch,) in feed(indices=chosen, seed=0, shuffle=False)(0))

    def scores(score, chosen):
        order = [i for _, part in feeding.plan_batches(chosen, plans, finetuning.batch) for i in part]
        values = dict(zip(order, feeding.score_all(score, plain(chosen)), strict=True))
        return np.asarray([values[int(i)] for i in chosen])

    def evaluate(score):
        return {
            SELECTION: auc(scores(score, parts.inner), labels[parts.inner]),
            "held_out_auc": auc(scores(score, parts.held_out), labels[parts.held_out]),  # for Figure 3 alone
        }

    group = finetuning.microbatches
    batches = feed(indices=parts.train, seed=stream(here, "shuffle"), augmentation=augmentation, group=group)
    count = sum(1 for _ in feeding.plan_batches(parts.train, plans, finetuning.batch))
    steps = finetuning.epochs * feeding.steps_per_epoch(count, batch=1, group=group)
    optimizer = make_optimizer(
        learning_rate=finetuning.learning_rate,
        steps=steps,
        schedule=recipe.schedule,
        warmup=recipe.warmup,
        clip=recipe.clip,
        scale_of=lambda path: finetuning.scanning_rate if "scanning" in str(path[0]) else 1.0,
    )
    fitted = fit(
        model,
        objective_of(base, pair_loss, labels=labels[parts.train]),
        optimizer,
        batches=batches,
        evaluate=evaluate,
        epochs=finetuning.epochs,
        regularisation=recipe.regularisation,
        folder=folder,
        seed=stream(here, "reservoir"),
        checkpoint_every=1,
        say=say,
        track=track,
        description=f"{arm} fold {parts.fold}",
    )
    score = model_scorer(fitted.model)
    saved.save_variables(folder / MERGED_FILE, fitted.model, saved.read_facts(start / CLASSIFIER_FILE))
    _score_held_out(folder, records, parts, scores(score, parts.inner), scores(score, parts.held_out))
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    stages.finish(folder, cell_key, arm=arm, fold=parts.fold, epoch=fitted.epoch, step=fitted.step)
    return folder


def objective_of(arm: str, pair_loss: PairLoss, *, labels: np.ndarray) -> Objective:
    """The objective of a neural arm; labels: int[n] of its training samples."""
    positives = int(labels.sum())
    if arm == "auc":
        form = {k: v for k, v in asdict(pair_loss).items() if k != "two_pass_batches"}
        return auc_objective(samples=len(labels), **form)
    if arm == "bce":
        return logistic_objective()
    if arm == "weighted_bce":
        return weighted_logistic_objective(positives=positives, negatives=len(labels) - positives)
    raise UserError(f"unknown arm {arm!r}; expected some of {', '.join(ARMS)}")


def build_classifier(shape: Sequence[int], recipe: Recipe, *, seed: int):
    """The paper's classifier for representations of `shape` (np, np, c)."""
    from flax import nnx

    from mammojax.models.classifiers.paper import Classifier

    return Classifier(
        shape[-1],
        shape[0],
        filters=recipe.filters,
        hidden=recipe.hidden,
        dropout=recipe.dropout,
        rngs=nnx.Rngs(seed),
    )


def _shape(recipe: Recipe) -> dict:
    return {"filters": list(recipe.filters), "hidden": list(recipe.hidden), "dropout": recipe.dropout}


def build_saved(path: Path):
    """A classifier of the form that a file describes, not yet filled."""
    from flax import nnx

    from mammojax.models.classifiers.paper import Classifier

    facts = saved.read_facts(path)
    return Classifier(
        facts["shape"][-1],
        facts["shape"][0],
        filters=tuple(facts["filters"]),
        hidden=tuple(facts["hidden"]),
        dropout=facts["dropout"],
        rngs=nnx.Rngs(0),
    )


def load_classifier(folder: Path):
    """The trained classifier of a finished cell, in evaluation mode."""
    model = build_saved(folder / CLASSIFIER_FILE)
    saved.load_variables(folder / CLASSIFIER_FILE, model)
    model.eval()
    return model


def load_merged(folder: Path, network, *, precision: str = "float32"):
    """The fine-tuned network of a finished stage-two cell, in evaluation mode.

    network: the pretrained one. precision: of its products, that of the run.
    """
    from mammojax.models.merged import MammogramNet

    model = MammogramNet(copy.deepcopy(network), build_saved(folder / MERGED_FILE), dtype=precision)
    saved.load_variables(folder / MERGED_FILE, model)
    model.eval()
    return model


def _begin(folder: Path, cell_key: str, say: Callable[[str], None]) -> bool:
    """False if the cell is finished; otherwise its folder is made ready."""
    name = f"{folder.parent.name} {folder.name.replace('_', ' ')}"
    if stages.is_finished(folder, cell_key):
        say(f"{name} is reused")
        return False
    moved = stages.claim(folder, cell_key)
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
    write_json(folder / "calibration.json", platt.to_json())
    with writing(folder / "predictions.csv", "w") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for i, score, log_odds in zip(parts.held_out, scores, platt.log_odds(scores)):
            record = records.records[i]
            probability = 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0
            writer.writerow(
                [
                    record.record,
                    record.patient,
                    record.breast,
                    parts.fold,
                    record.label,
                    repr(float(score)),
                    repr(float(log_odds)),
                    repr(probability),
                ]
            )
