"""Scans a prepared data set with the pretrained network into representations; once, resumable.

Prepares the data set first if that has not been done.

Example:
  python -m launch.scan --config=configs/mias.py --config.data.source=FOLDER --config.model.np=30
"""

from pathlib import Path

from launch import command_line
from launch.command_line import say, track


def network(config):
    """The pretrained scanning network of a configuration; UserError for types that it cannot be scanned with."""
    from mammojax.models.scanning import load_backbone
    from mammojax.representations.scan import check_types

    check_types(config.model.precision, config.scan.cache)
    return load_backbone(
        config.model.backbone,
        tap=config.model.tap or None,
        weights=config.model.weights or None,
        seed=config.seed,
    )


def cache_folder(config) -> Path:
    """Where representations are kept."""
    return Path(config.scan.representations or Path(config.run) / "representations")


def batch_size(config) -> int:
    """Images a step: as set, or by the device."""
    import jax

    return config.scan.batch or (1 if jax.default_backend() == "cpu" else 16)


def scanned(config, records, net):
    """The `Representations` of a configuration, made or reused."""
    from mammojax.datasets.pipeline import Augmentation
    from mammojax.representations.scan import scan_records

    return scan_records(
        records,
        net,
        cache_folder(config),
        np_=config.model.np,
        max_side=config.model.max_side or None,
        copies=config.scan.copies,
        augmentation=Augmentation(**config.augmentation.to_dict()),
        seed=config.seed,
        batch=batch_size(config),
        workers=config.scan.workers,
        precision=config.model.precision,
        cache=config.scan.cache,
        track=track,
        say=say,
    )


def main(config, arguments: list[str]) -> None:
    from launch.prepare import describe, prepared
    from mammojax.runs.environment import record_settings

    command_line.no_arguments(arguments)
    net = network(config)
    record_settings(Path(config.run), config.to_dict())
    records = prepared(config)
    describe(config, records)
    say(f"scanning network: {net.provenance}")
    cache = scanned(config, records, net)
    say(
        f"{len(cache)} representations of {' x '.join(map(str, cache.shape))}, {cache.copies} copies, in {cache.folder}"
    )
    say(
        f"  kept as {cache.cache}; rounding changes a value by {cache.rounding.root_mean_square:.2g} of its channel's "
        f"deviation (root mean square), {cache.rounding.worst:.2g} at worst"
    )
    for text in cache.plans:
        say(f"  plan: {text}")


if __name__ == "__main__":
    command_line.run(main, config="configs/phantom.py")
