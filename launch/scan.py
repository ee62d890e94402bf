"""Scans a prepared data set with the pretrained network into representations; once, resumable.

Prepares the data set first if that has not been done.

Example:
  python -m launch.scan --config=configs/mias.py --config.data.source=FOLDER --config.model.np=30
"""

import dataclasses
from pathlib import Path

from launch import command_line
from launch.command_line import say, track


def network(settings):
    """The pretrained scanning network of a configuration; UserError for types that it cannot be scanned with."""
    from mammojax.models.scanning import load_backbone
    from mammojax.representations.scan import check_types

    check_types(settings.model.precision, settings.scan.cache)
    return load_backbone(
        settings.model.backbone,
        tap=settings.model.tap or None,
        weights=settings.model.weights or None,
        seed=settings.seed,
    )


def cache_folder(settings) -> Path:
    """Where representations are kept."""
    return Path(settings.scan.representations or Path(settings.run) / "representations")


def batch_size(settings) -> int:
    """Images a step: as set, or by the device."""
    import jax

    return settings.scan.batch or (1 if jax.default_backend() == "cpu" else 16)


def scanned(settings, records, net):
    """The `Representations` of a configuration, made or reused."""
    from mammojax.datasets.pipeline import Augmentation
    from mammojax.representations.scan import scan_records

    return scan_records(
        records,
        net,
        cache_folder(settings),
        np_=settings.model.np,
        max_side=settings.model.max_side or None,
        copies=settings.scan.copies,
        augmentation=Augmentation(**dataclasses.asdict(settings.augmentation)),
        seed=settings.seed,
        batch=batch_size(settings),
        workers=settings.scan.workers,
        precision=settings.model.precision,
        cache=settings.scan.cache,
        track=track,
        say=say,
    )


def main(settings, arguments: list[str]) -> None:
    from launch.prepare import describe, prepared
    from mammojax.runs.environment import record_settings
    from mammojax.settings import to_mapping

    command_line.no_arguments(arguments)
    net = network(settings)
    record_settings(Path(settings.run), to_mapping(settings))
    records = prepared(settings)
    describe(settings, records)
    say(f"scanning network: {net.provenance}")
    cache = scanned(settings, records, net)
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
