"""What cells read: the prepared set, the scanning networks, the representation caches; each made or reused once a run."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mammojax.datasets import samples as sampling
from mammojax.datasets.pipeline import Augmentation
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError
from mammojax.experiment.fit import Neighbours
from mammojax.representations.bags import Bags
from mammojax.representations.cache import Representations
from mammojax.runs import buckets, processes
from mammojax.runs.devices import DATA, described, everywhere, own_mesh, padded_to, program_mesh
from mammojax.runs.files import check_target
from mammojax.settings import Settings, further_sets


def prepared(settings: Settings, *, say: Callable, track: Callable) -> RecordSet:
    """The prepared set that the settings name, made or reused; of several (config.data.also) all records together. From here on
    finished stages are mirrored where the settings say so.

    UserError where no source is given, and where a folder of the run can never be written, before hours are spent.
    """
    from mammojax.datasets.joined import joined

    buckets.use(settings.mirror)
    for folder in (settings.run, prepared_folder(settings), cache_folder(settings)):
        check_target(Path(folder))
    every = (settings, *further_sets(settings))
    for one in every:
        if not one.data.source:
            of = f" for {one.data.name} of config.data.also" if one is not settings else ""
            raise UserError(
                f"config.data.source is empty{of}; give the folder that holds the files: "
                + (f"'{one.data.name}:source=FOLDER'" if of else "--config.data.source=FOLDER")
            )
    sets = [_prepared(one, say=say, track=track) for one in every]
    return sets[0] if len(sets) == 1 else joined(sets, prepared_folder(settings), say=say)


def _prepared(settings: Settings, *, say: Callable, track: Callable) -> RecordSet:
    """One of them."""
    from dataclasses import asdict

    from mammojax.datasets.prepare import prepare

    data = settings.data
    source = Path(data.source)
    if buckets.is_bucket(data.source):
        source = buckets.fetched(data.source, Path(settings.run) / "sources", say=say, track=track)
    options = {}
    if data.name == "phantom":
        options = {**asdict(data.phantom), "seed": settings.seed}
    elif data.name == "folder":
        options = asdict(data.folder)
    return prepare(
        data.name,
        source,
        prepared_folder(settings),
        labels=data.labels,
        split=data.split,
        margin=data.margin,
        depth=data.depth,
        for_processing=data.for_processing,
        options=options,
        workers=os.cpu_count() if data.workers < 0 else data.workers,
        strict=data.strict,
        track=track,
        say=say,
    )


def network(settings: Settings):
    """The pretrained scanning network of these settings."""
    from mammojax.models.scanning import load_backbone

    model = settings.model
    return load_backbone(
        model.backbone, tap=model.tap or None, weights=model.weights or None, seed=settings.seed
    )


def meshes(settings: Settings):
    """(mesh of this process's devices, mesh of the devices of all processes of the program); None for one device."""
    sizes = settings.mesh.data, settings.mesh.rows
    return own_mesh(*sizes), program_mesh(*sizes)


def placement(settings: Settings) -> str:
    """One line on where the program runs and where it writes."""
    _, mesh = meshes(settings)
    batch = settings.training.batch
    if batch and mesh is not None:
        share = padded_to(batch, mesh) // mesh.shape[DATA]
        batch = f"{batch}, {share} a device"
    spread = ""
    if settings.mesh.shard and mesh is not None:
        spread = f", kernels of {settings.mesh.shard} numbers and more spread"
    who = f"process {os.getpid()} on {socket.gethostname()}"
    if processes.count() > 1:
        who = f"{processes.count()} processes, the first is {who}"
    return (
        f"{who}: {described(mesh)}, training batch {batch or 'of all samples'}{spread}; writes {settings.run}"
    )


def prepared_folder(settings: Settings) -> Path:
    """Where prepared sets are kept."""
    return Path(settings.data.prepared or Path(settings.run) / "prepared")


def cache_folder(settings: Settings) -> Path:
    """Where representations are kept."""
    return Path(settings.scan.representations or Path(settings.run) / "representations")


def reading(settings: Settings) -> dict:
    """How crops are read, by the names of `record_plans`."""
    model = settings.model
    return {"map": model.map, "np_": model.np, "scale": settings.scan.scale, "max_side": model.max_side}


def represented(
    settings: Settings, records: RecordSet, net, *, say: Callable, track: Callable
) -> Representations:
    """The representation cache of these settings, made or reused."""
    import jax

    from mammojax.representations.scan import scan_records

    scan = settings.scan
    return scan_records(
        records,
        net,
        cache_folder(settings),
        **reading(settings),
        intensity=settings.model.intensity,
        copies=scan.copies,
        augmentation=augmentation(settings),
        seed=settings.seed,
        batch=scan.batch or (1 if jax.default_backend() == "cpu" else 16),
        workers=scan.workers,
        precision=settings.model.precision,
        cache=scan.cache,
        mesh=meshes(settings)[0],
        track=track,
        say=say,
    )


def augmentation(settings: Settings) -> Augmentation:
    """The ranges of random changes."""
    a = settings.augmentation
    return Augmentation(flip=a.flip, rotation=a.rotation, scaling=a.scaling, intensity=a.intensity)


def neighbours(samples: sampling.Samples, partner: np.ndarray, other_view: np.ndarray) -> Neighbours:
    """Of samples, from those of records: the sample that holds a member's partner, -1 for none or itself.

    partner, other_view: int[records], record numbers, -1 for none.
    """
    sample_of = np.full(len(partner), -1, np.int64)
    for k, members in enumerate(samples.members):
        sample_of[members] = k

    def of(records_of: np.ndarray) -> np.ndarray:
        found = np.full(len(samples), -1, np.int64)
        for k, members in enumerate(samples.members):
            others = [sample_of[records_of[i]] for i in members if records_of[i] >= 0]
            others = [j for j in others if j not in (k, -1)]
            if others:
                found[k] = others[0]
        return found

    return Neighbours(of(partner), of(other_view))


class MapsCache:
    """Bags and, where they fit, their arrays on the device; the last one of each form is kept, for the next cell."""

    def __init__(self, limit: int):
        self._limit = limit
        self._held: dict = {}

    def bags(self, key: tuple, make: Callable[[], Bags], mesh=None):
        """(Bags, `Maps` on the devices of the mesh or None): as `make` gives them, made once for equal keys."""
        import jax
        import jax.numpy as jnp

        from mammojax.training.step import Maps

        key = (key, mesh)
        if key not in self._held:
            self._held.clear()  # one at a time: a set can take gigabytes
            bags = make()
            maps = None
            if bags.bytes <= self._limit:
                maps = Maps(*bags.stacked())
                maps = jax.tree.map(jnp.asarray, maps) if mesh is None else everywhere(maps, mesh)
            self._held[key] = (bags, maps)
        return self._held[key]
