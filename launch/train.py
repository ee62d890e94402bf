"""Trains one arm on one fold: one cell of the table.

Prepares, scans and splits first if that has not been done. A killed run goes on where it was.

Example:
  python -m launch.train --config=configs/mias.py --config.data.source=FOLDER --arm=auc --fold=0
"""

from pathlib import Path

from absl import flags

from launch import command_line
from launch.command_line import say, track

if __name__ == "__main__":
    ARM = flags.DEFINE_string("arm", "auc", "resize224_svm, bce, weighted_bce or auc")
    FOLD = flags.DEFINE_integer("fold", 0, "the fold that is held out, from 0", lower_bound=0)


def splits(config, records) -> list:
    """The `Split` of every fold; writes folds.json."""
    from mammojax.datasets.folds import save_folds, stratified_folds
    from mammojax.experiment.split import split
    from mammojax.seeds import stream

    folds = config.crossval.folds
    fold_of = stratified_folds(
        records.patients, records.labels, folds=folds, seed=stream(config.seed, "folds")
    )
    save_folds(Path(config.run) / "folds.json", records, fold_of, seed=config.seed)
    return [split(records, fold_of, k, inner=config.training.inner, seed=config.seed) for k in range(folds)]


def inputs(config, arms, records, net) -> dict:
    """What the cells of these arms read: representations (stage one), features (baseline 1), plans (stage two)."""
    from launch.scan import cache_folder, scanned
    from mammojax.experiment import fit as cells
    from mammojax.representations.scan import record_plans
    from mammojax.representations.whole_image import whole_image_features

    for arm in arms:
        cells.check_arm(arm)
    read = {"network": net}
    if cells.BASELINE in arms:
        read["features"] = whole_image_features(records, net, cache_folder(config), track=track, say=say)
    if set(arms) - {cells.BASELINE}:
        read["representations"] = scanned(config, records, net)
    if any(arm.endswith(cells.FINETUNED) for arm in arms):
        read["plans"] = record_plans(
            records, net, np_=config.model.np, max_side=config.model.max_side or None
        )
    return read


def recipes(config) -> tuple:
    """(`Recipe`, `PairLoss`, `Finetuning`) of a configuration; UserError for settings that cannot be trained with."""
    from mammojax.experiment import fit as cells

    classifier = {name: getattr(config.model, name) for name in ("filters", "hidden", "dropout")}
    recipe = cells.Recipe(**config.training.to_dict(), **classifier)
    pair_loss = cells.PairLoss(**config.loss.to_dict())
    finetuning = cells.Finetuning(**config.finetune.to_dict())
    cells.check_settings(recipe, pair_loss)
    cells.check_finetuning(finetuning, config.model.backbone)
    return recipe, pair_loss, finetuning


def cell(config, arm: str, parts, records, read: dict) -> Path:
    """Trains one arm on one fold, or reuses it; the cell's folder. read: from `inputs`."""
    from mammojax.datasets.pipeline import Augmentation
    from mammojax.experiment import fit as cells

    where, about = (Path(config.run), arm, parts, records), {"seed": config.seed, "say": say}
    if arm == cells.BASELINE:
        features, key = read["features"]
        return cells.baseline_cell(*where, features, features_key=key, **about)
    recipe, pair_loss, finetuning = recipes(config)
    if not arm.endswith(cells.FINETUNED):
        return cells.train_cell(
            *where, read["representations"], recipe=recipe, pair_loss=pair_loss, track=track, **about
        )
    cell(config, arm.removesuffix(cells.FINETUNED), parts, records, read)
    return cells.finetune_cell(
        *where,
        read["network"],
        read["plans"],
        recipe=recipe,
        pair_loss=pair_loss,
        finetuning=finetuning,
        track=track,
        augmentation=Augmentation(**config.augmentation.to_dict()),
        precision=config.model.precision,
        workers=config.scan.workers,
        **about,
    )


def main(config, arguments: list[str]) -> None:
    from launch.prepare import describe, prepared
    from launch.scan import network
    from mammojax.errors import UserError
    from mammojax.experiment.fit import check_arm, describe_cell
    from mammojax.runs.environment import record_settings

    command_line.no_arguments(arguments)
    check_arm(ARM.value)
    if FOLD.value >= config.crossval.folds:
        raise UserError(
            f"--fold={FOLD.value}, expected 0 to {config.crossval.folds - 1} (config.crossval.folds)"
        )
    recipes(config)
    net = network(config)
    record_settings(Path(config.run), config.to_dict())
    records = prepared(config)
    describe(config, records)
    parts = splits(config, records)[FOLD.value]
    read = inputs(config, [ARM.value], records, net)
    say(describe_cell(cell(config, ARM.value, parts, records, read)))


if __name__ == "__main__":
    command_line.run(main, config="configs/phantom.py")
