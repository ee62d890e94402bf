"""Every crop scanned once by the pretrained network into the representation cache.

The paper, section 4: "to speed-up training, one can pre-compute the volumetric representations of all images". Copy 0 of
a record is the crop as it is; copies 1, 2, ... are augmented. Shards hold records of one plan, so that a data set of
any sizes compiles few programs; a killed scan goes on at the first missing shard, and processes with the same command
share the shards out. While the device computes a batch the next one is read, and the next program compiled.
"""

import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mammojax.datasets import pipeline
from mammojax.datasets.pipeline import Augmentation
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError
from mammojax.representations.cache import (
    CACHES,
    MANIFEST,
    Representations,
    moments,
    rounded,
    rounding,
    shard_name,
    tissue_name,
)
from mammojax.representations.intensity import stretched
from mammojax.representations.programs import Programs
from mammojax.representations.tissue import tissue_cells
from mammojax.runs import stages
from mammojax.runs.files import write_json, writing
from mammojax.runs.share import Piece, part, shared
from mammojax.seeds import stream

FORM = 4  # raise when scanning changes what a shard holds
_SHARD = 32  # records a shard
_AHEAD = 2  # batches that the device may have before it


def record_plans(
    records: RecordSet, network, *, map: str = "grid", np_: int = 15, scale: float = 1.0, max_side: int = 0
) -> list:
    """The plan of every record: np_ x np_ cells (map "grid") or every cell of the tap (map "dense").

    scale: of the crops before they are read. max_side: see `plan`; 0 for no limit.
    """
    return [
        crop_plan((r.height, r.width), network, map=map, np_=np_, scale=scale, max_side=max_side)
        for r in records.records
    ]


def crop_plan(shape: tuple[int, int], network, *, map: str, np_: int, scale: float, max_side: int):
    """The plan of one crop of `shape`; see `record_plans`."""
    longest = max_side or None
    if map == "dense":
        from mammojax.models.plans import dense_plan

        return dense_plan(shape, network.backbone, tap=network.tap, scale=scale, max_side=longest)
    if scale != 1.0:
        longest = min(longest or max(shape), max(1, round(scale * max(shape))))
    from mammojax.models.plans import plan

    return plan(shape, network.backbone, np_, tap=network.tap, max_side=longest)


def scan_records(
    records: RecordSet,
    network,
    directory: Path,
    *,
    map: str = "grid",
    np_: int = 15,
    scale: float = 1.0,
    max_side: int = 0,
    intensity: str = "none",
    copies: int = 1,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    batch: int = 1,
    workers: int = 0,
    precision: str = "float32",
    cache: str = "float16",
    mesh=None,
    track: Callable = lambda it, **_: it,
    say: Callable[[str], None] = lambda text: None,
) -> Representations:
    """The representation cache of `records`, made or reused; one folder a key under `directory`.

    network: a `ScanningNetwork`. map, np_, scale, max_side: see `record_plans`. intensity: see `stretched`. copies: 1
    plain plus copies - 1 augmented ones. batch: images a step. precision: of the network's products. cache: the type
    that is kept, one of `CACHES`. mesh: of `own_mesh`, over which the images of a batch, and the rows of an image, are
    spread; the values are equal to rounding. track, say: see `prepare`.
    """
    import jax

    if copies < 1 or (copies > 1 and augmentation is None):
        raise UserError(f"{copies} copies: expected at least 1, and an augmentation for more than 1")
    plans = record_plans(records, network, map=map, np_=np_, scale=scale, max_side=max_side)
    shards = _shards(plans)
    stage_key = stages.key(
        records=records.directory.name,
        network=network.identity,
        tap=network.tap,
        map=map,
        np=np_ if map == "grid" else None,
        scale=scale,
        max_side=max_side,
        intensity=intensity,
        copies=copies,
        augmentation=vars(augmentation) if copies > 1 else None,
        seed=seed if copies > 1 else None,
        computed_in=[precision, jax.default_backend()],
        cache=cache,
        form=FORM,
    )

    def parts(folder: Path, done: Iterator) -> list[Piece]:
        options = {"copies": copies, "augmentation": augmentation, "seed": seed, "workers": workers,
                   "intensity": intensity, "cache": cache, "done": done}  # fmt: skip
        order = dict.fromkeys(plans[shards[k][0]] for k in lacking(folder))
        programs = Programs(network, tuple(order), batch=batch, precision=precision, mesh=mesh)
        return [
            part(
                folder,
                f"shard {k}",
                functools.partial(_make_shard, folder, k, shards[k], records, programs, plans, **options),
                whole=(folder / shard_name(k)).is_file,
            )
            for k in range(len(shards))
        ]

    def lacking(folder: Path) -> list[int]:
        return [k for k in range(len(shards)) if not (folder / shard_name(k)).is_file()]

    def progress(todo: list[int]) -> Iterator:
        total = copies * sum(len(shards[k]) for k in todo)
        return iter(track(range(total), total=total, description="scanning"))

    def help(folder: Path) -> None:
        for piece in parts(folder, progress(lacking(folder))):
            piece.attempt()

    def make(folder: Path) -> dict:
        todo = lacking(folder)
        if len(todo) < len(shards):
            say(
                f"representations {stage_key}: {len(shards) - len(todo)} of {len(shards)} shards are there already"
            )
        cells = sum(int(np.prod(plan_cells(plans[i]))) for k in todo for i in shards[k])
        size = cells * copies * (network.channels * CACHES[cache].itemsize + 1)
        say(f"representations {stage_key} take {size / 1e6:.0f} MB in {Path(directory)}")
        done = progress(todo)
        shared(parts(folder, done), say=say)
        next(done, None)
        lost = rounding([np.load(folder / _moments_name(k)) for k in range(len(shards))])
        manifest = {
            "copies": copies,
            "channels": network.channels,
            "cache": cache,
            "precision": precision,
            "rounding": lost._asdict(),
            "shards": [[[i, *plan_cells(plans[i])] for i in shard] for shard in shards],
            "plans": sorted({p.describe() for p in plans}),
        }
        write_json(folder / MANIFEST, manifest)
        return {"records": records.directory.name, "network": network.identity}

    what = f"the representation cache {stage_key}"
    return Representations(stages.made(Path(directory), stage_key, make, what=what, say=say, help=help))


def plan_cells(plan) -> tuple[int, int]:
    """(rows, columns) of the map that a plan gives."""
    return plan.cells if isinstance(plan.cells, tuple) else (plan.cells, plan.cells)


def _shards(plans: Sequence) -> list[list[int]]:
    """Record numbers of every shard: up to `_SHARD` records that one program reads."""
    order = sorted(range(len(plans)), key=lambda i: (plans[i].input_shape, plans[i].describe(), i))
    shards: list[list[int]] = []
    for i in order:
        if shards and len(shards[-1]) < _SHARD and plans[shards[-1][0]] == plans[i]:
            shards[-1].append(i)
        else:
            shards.append([i])
    return shards


def _moments_name(k: int) -> str:
    return f"moments_{k:05d}.npy"


def _make_shard(folder, k, shard, records, programs, plans, *, copies, augmentation, seed, workers, intensity, cache,
                done) -> None:  # fmt: skip
    """Writes the moments, the masks and the values of one shard, the values last: they say that it is whole."""
    parts: dict[int, list] = {i: [] for i in shard}
    for copy in range(copies):
        elements = pipeline.crops(
            records,
            shard,
            augmentation=augmentation if copy else None,
            seed=stream(seed, "scan", "copy", copy, "shard", k),
            transform=Prepare(plans, intensity),
            workers=workers,
        )
        for i, values, cells in scanned(programs, elements, plans):
            parts[i].append((values.reshape(-1, values.shape[-1]), cells.ravel()))
            next(done, None)
    exact = np.concatenate([values for i in shard for values, _ in parts[i]])
    tissue = np.concatenate([cells for i in shard for _, cells in parts[i]])
    kept = rounded(exact, cache)
    with writing(folder / _moments_name(k)) as file:
        np.save(file, moments(exact, kept))
    with writing(folder / tissue_name(k)) as file:
        np.save(file, tissue)
    with writing(folder / shard_name(k)) as file:
        np.save(file, kept.view(np.uint16) if cache == "bfloat16" else kept)


class Prepare:
    """Picklable: an element's image becomes the network's input under its record's plan, its mask the map's cells.

    plans: the plan of every record, by index. intensity: see `stretched`.
    """

    def __init__(self, plans: Sequence, intensity: str = "none"):
        self._plans, self._intensity = tuple(plans), intensity

    def __call__(self, element: dict) -> dict:
        from mammojax.models.scanning import prepare_image

        plan = self._plans[element["index"]]
        image = stretched(element["image"], element["bits"], self._intensity)
        return {
            "input": prepare_image(image, element["bits"], plan),
            "cells": tissue_cells(element["tissue"], plan),
            "index": element["index"],
        }


def scanned(programs: Programs, elements, plans) -> Iterator:
    """(index, map float32[rows, columns, c], tissue bool[rows, columns]) of prepared elements of one plan, in order."""
    running: deque = deque()

    def finished():
        waiting, result, rows, columns = running.popleft()
        values = np.asarray(result)[: len(waiting), :rows, :columns]
        for element, value in zip(waiting, values):
            yield element["index"], value, element["cells"]

    def begin(waiting):
        plan = plans[waiting[0]["index"]]
        inputs = [e["input"] for e in waiting]
        filled = np.stack(
            inputs + inputs[-1:] * (programs.batch - len(inputs))
        )  # one program: the tail is padded
        running.append((waiting, programs(plan, filled), *plan_cells(plan)))

    waiting: list[dict] = []
    for element in elements:
        waiting.append(element)
        if len(waiting) == programs.batch:
            begin(waiting)
            waiting = []
        if len(running) > _AHEAD:
            yield from finished()
    if waiting:
        begin(waiting)
    while running:
        yield from finished()
