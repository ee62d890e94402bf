"""Trains one arm on one fold: one cell of the table.

Prepares, scans and splits first if that has not been done. A killed run goes on where it was.

Example:
  python -m launch.train --config=configs/mias.py --config.data.source=FOLDER --arm=auc --fold=0
"""

import dataclasses
from pathlib import Path

from absl import flags

from launch import command_line
from launch.command_line import say, track

if __name__ == "__main__":
    ARM = flags.DEFINE_string("arm", "auc", "resize224_svm, bce, weighted_bce or auc")
    FOLD = flags.DEFINE_integer("fold", 0, "the fold that is held out, from 0", lower_bound=0)


def splits(settings, records) -> list:
    """The `Split` of every fold; writes folds.json."""
    from mammojax.datasets.folds import save_folds, stratified_folds
    from mammojax.experiment.split import split
    from mammojax.seeds import stream

    folds = settings.crossval.folds
    fold_of = stratified_folds(
        records.patients, records.labels, folds=folds, seed=stream(settings.seed, "folds")
    )
    save_folds(Path(settings.run) / "folds.json", records, fold_of, seed=settings.seed)
    return [
        split(records, fold_of, k, inner=settings.training.inner, seed=settings.seed) for k in range(folds)
    ]


def inputs(settings, arms, records, net) -> dict:
    """What the cells of these arms read: representations (stage one), features (baseline 1), plans (stage two)."""
    from launch.scan import cache_folder, scanned
    from mammojax.experiment import fit as cells
    from mammojax.representations.scan import record_plans
    from mammojax.representations.whole_image import whole_image_features

    for arm in arms:
        cells.check_arm(arm)
    read = {"network": net}
    if cells.BASELINE in arms:
        read["features"] = whole_image_features(records, net, cache_folder(settings), track=track, say=say)
    if set(arms) - {cells.BASELINE}:
        read["representations"] = scanned(settings, records, net)
    if any(arm.endswith(cells.FINETUNED) for arm in arms):
        read["plans"] = record_plans(
            records, net, np_=settings.model.np, max_side=settings.model.max_side or None
        )
    return read


def recipes(settings) -> tuple:
    """(`Recipe`, `PairLoss`, `Finetuning`) of a configuration; UserError for settings that cannot be trained with."""
    from mammojax.experiment import fit as cells

    def of(kind, *branches):
        names = [field.name for field in dataclasses.fields(kind)]
        return kind(**{n: getattr(branch, n) for branch in branches for n in names if hasattr(branch, n)})

    recipe = of(cells.Recipe, settings.training, settings.model.paper)
    pair_loss, finetuning = of(cells.PairLoss, settings.loss), of(cells.Finetuning, settings.finetune)
    cells.check_settings(recipe, pair_loss)
    cells.check_finetuning(finetuning, settings.model.backbone)
    return recipe, pair_loss, finetuning


def cell(settings, arm: str, parts, records, read: dict) -> Path:
    """Trains one arm on one fold, or reuses it; the cell's folder. read: from `inputs`."""
    from mammojax.datasets.pipeline import Augmentation
    from mammojax.experiment import fit as cells

    where, about = (Path(settings.run), arm, parts, records), {"seed": settings.seed, "say": say}
    if arm == cells.BASELINE:
        features, key = read["features"]
        return cells.baseline_cell(*where, features, features_key=key, **about)
    recipe, pair_loss, finetuning = recipes(settings)
    if not arm.endswith(cells.FINETUNED):
        return cells.train_cell(
            *where, read["representations"], recipe=recipe, pair_loss=pair_loss, track=track, **about
        )
    cell(settings, arm.removesuffix(cells.FINETUNED), parts, records, read)
    return cells.finetune_cell(
        *where,
        read["network"],
        read["plans"],
        recipe=recipe,
        pair_loss=pair_loss,
        finetuning=finetuning,
        track=track,
        augmentation=Augmentation(**dataclasses.asdict(settings.augmentation)),
        precision=settings.model.precision,
        workers=settings.scan.workers,
        **about,
    )


def main(settings, arguments: list[str]) -> None:
    from launch.prepare import describe, prepared
    from launch.scan import network
    from mammojax.errors import UserError
    from mammojax.experiment.fit import check_arm, describe_cell
    from mammojax.runs.environment import record_settings
    from mammojax.settings import to_mapping

    command_line.no_arguments(arguments)
    check_arm(ARM.value)
    if FOLD.value >= settings.crossval.folds:
        raise UserError(
            f"--fold={FOLD.value}, expected 0 to {settings.crossval.folds - 1} (config.crossval.folds)"
        )
    recipes(settings)
    net = network(settings)
    record_settings(Path(settings.run), to_mapping(settings))
    records = prepared(settings)
    describe(settings, records)
    parts = splits(settings, records)[FOLD.value]
    read = inputs(settings, [ARM.value], records, net)
    say(describe_cell(cell(settings, ARM.value, parts, records, read)))


if __name__ == "__main__":
    command_line.run(main, config="configs/phantom.py")
