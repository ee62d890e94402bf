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
    from mammojax.evaluation.crossval import split
    from mammojax.seeds import stream

    folds = config.crossval.folds
    fold_of = stratified_folds(records.patients, records.labels, folds=folds, seed=stream(config.seed, "folds"))
    save_folds(Path(config.run) / "folds.json", records, fold_of, seed=config.seed)
    return [split(records, fold_of, k, inner=config.training.inner, seed=config.seed) for k in range(folds)]


def cell(config, arm: str, parts, records, net) -> Path:
    """Trains one arm on one fold, or reuses it; the cell's folder."""
    from launch.scan import cache_folder, scanned
    from mammojax.evaluation import crossval
    from mammojax.evaluation.finetune import finetune_cell
    from mammojax.training.whole_image import whole_image_features

    crossval.check_arm(arm)
    directory, about = Path(config.run), {"seed": config.seed, "say": say}
    if arm == "resize224_svm":
        features, key = whole_image_features(records, net, cache_folder(config), track=track,
                                             say=lambda text: None)  # fmt: skip
        return crossval.baseline_cell(directory, arm, parts, records, features, features_key=key, **about)
    training = config.training.to_dict()
    classifier = {name: getattr(config.model, name) for name in ("filters", "hidden", "dropout")}
    recipe = crossval.Recipe(**training, **classifier)
    pair_loss = crossval.PairLoss(**config.loss.to_dict())
    cache = scanned(config, records, net)
    folder = crossval.train_cell(directory, arm, parts, records, cache, recipe=recipe, pair_loss=pair_loss,
                                 track=track, **about)  # fmt: skip
    return folder


def main(config, arguments: list[str]) -> None:
    from launch.prepare import describe, prepared
    from launch.scan import network
    from mammojax import run
    from mammojax.errors import UserError
    from mammojax.evaluation.crossval import describe_cell

    command_line.no_arguments(arguments)
    if FOLD.value >= config.crossval.folds:
        raise UserError(f"--fold={FOLD.value}, expected 0 to {config.crossval.folds - 1} (config.crossval.folds)")
    run.record_settings(Path(config.run), config.to_dict())
    records = prepared(config)
    describe(records)
    parts = splits(config, records)[FOLD.value]
    say(describe_cell(cell(config, ARM.value, parts, records, network(config))))


if __name__ == "__main__":
    command_line.run(main, config="configs/phantom.py")
