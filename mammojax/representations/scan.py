"""The representation cache: every crop scanned once by the pretrained network, kept in shards.

The paper, section 4: "to speed-up training, one can pre-compute the volumetric representations of all images". Copy 0 of
a record is the crop as it is; copies 1, 2, ... are augmented. Shards hold records of one plan, so that a data set of
any sizes compiles few programs; a killed scan goes on at the first missing shard.

Values are kept in a type of two bytes or four; what rounding to it costs is measured on all that is stored, against each
channel's deviation, which is the unit that the classifier sees them in. A shard of bfloat16, which .npy files do not
know, holds its bits as uint16.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np

from mammojax.datasets import pipeline
from mammojax.datasets.pipeline import Augmentation
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError
from mammojax.runs import stages
from mammojax.runs.files import read_json, write_json, writing

FORM = 3  # raise when scanning changes what a shard holds
PRECISIONS = ("float32", "bfloat16")  # of the scanning network's products
CACHES = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
}
_SHARD = 32  # records a shard


def check_types(precision: str, cache: str) -> None:
    """UserError for a type that is not computed in (config.model.precision) or not stored (config.scan.cache)."""
    for name, value, known in (("model.precision", precision, PRECISIONS), ("scan.cache", cache, CACHES)):
        if value not in known:
            raise UserError(f"config.{name} is {value!r}; expected one of {', '.join(known)}")


def rounded(values: np.ndarray, cache: str) -> np.ndarray:
    """values in the type `cache` (a name of `CACHES`); UserError if one is not finite or beyond the type's range."""
    if not np.isfinite(values).all():
        raise UserError("the scanning network gave values that are not finite; check the weights file")
    with np.errstate(over="ignore"):  # said below
        kept = values.astype(CACHES[cache])
    if not np.isfinite(kept).all():
        raise UserError(
            f"representations reach {np.abs(values).max():.3g}, beyond {cache}; "
            f"set config.scan.cache=bfloat16 or choose another tap"
        )
    return kept


class Rounding(NamedTuple):
    """What storing took from the values: differences as shares of their channel's standard deviation.

    worst: the largest difference. root_mean_square: over all values.
    """

    worst: float
    root_mean_square: float


class Representations:
    """Read access to a finished cache.

    `read(i, copy)` is float32[np, np, c] of record i; copies: number of copies of each record (>= 1). cache: the type
    of what is stored. rounding: how far it is from what the network gave.
    """

    def __init__(self, folder: Path):
        facts = read_json(Path(folder) / "manifest.json")
        self.folder = Path(folder)
        self.copies: int = facts["copies"]
        self.shape: tuple[int, int, int] = tuple(facts["shape"])
        self.plans: list[str] = facts["plans"]
        self.cache: str = facts["cache"]
        self.rounding = Rounding(**facts["rounding"])
        self._place = {i: (k, row) for k, shard in enumerate(facts["shards"]) for row, i in enumerate(shard)}
        self._open = functools.lru_cache(maxsize=256)(self._open_shard)  # a memory map costs a file handle

    def __len__(self) -> int:
        return len(self._place)

    def _open_shard(self, k: int) -> np.ndarray:
        return np.load(self.folder / _shard_name(k), mmap_mode="r").view(CACHES[self.cache])

    def read(self, i: int, copy: int = 0) -> np.ndarray:
        """float32[np, np, c]: the representation of record i."""
        k, row = self._place[i]
        return self._open(k)[row, copy].astype(np.float32)

    def channel_statistics(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation float32[c] of the channels over plain copies of `indices` (float64 sums)."""
        total = np.zeros(self.shape[-1])
        square = np.zeros(self.shape[-1])
        for i in indices:
            value = self.read(int(i)).astype(np.float64)
            total += value.sum((0, 1))
            square += (value**2).sum((0, 1))
        count = len(indices) * self.shape[0] * self.shape[1]
        mean = total / count
        deviation = np.sqrt(np.maximum(square / count - mean**2, 0))
        return mean.astype(np.float32), np.where(deviation > 0, deviation, 1).astype(np.float32)


def _shard_name(k: int) -> str:
    return f"shard_{k:05d}.npy"


def _moments_name(k: int) -> str:
    return f"moments_{k:05d}.npy"


def _moments(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """float64[5, c] of a shard's channels: count, sum, sum of squares, sum of squared and largest rounding error."""
    values = values.reshape(-1, values.shape[-1]).astype(np.float64)
    errors = np.abs(kept.reshape(values.shape).astype(np.float64) - values)
    count = np.full(values.shape[-1], len(values))
    return np.stack([count, values.sum(0), (values**2).sum(0), (errors**2).sum(0), errors.max(0)])


def _rounding(moments: Sequence[np.ndarray]) -> Rounding:
    """Of the `_moments` of all shards; channels that never change have no deviation and are left out."""
    count, total, square, error, _ = np.sum(moments, 0)
    largest = np.max(moments, 0)[4]
    variance = square / count - (total / count) ** 2
    varies = variance > 1e-12 * square / count  # the rest is rounding of the sums
    if not varies.any():
        return Rounding(0.0, 0.0)
    return Rounding(
        worst=float((largest[varies] / np.sqrt(variance[varies])).max()),
        root_mean_square=float(np.sqrt((error[varies] / count[varies] / variance[varies]).mean())),
    )


def record_plans(records: RecordSet, network, *, np_: int, max_side: int | None = None) -> list:
    """The plan of every record; see `plan`."""
    from mammojax.models.scanning import plan

    options = {"tap": network.tap, "max_side": max_side}
    return [plan((r.height, r.width), network.backbone, np_, **options) for r in records.records]


def scan_records(
    records: RecordSet,
    network,
    directory: Path,
    *,
    np_: int,
    copies: int = 1,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    batch: int = 1,
    workers: int = 0,
    max_side: int | None = None,
    precision: str = "float32",
    cache: str = "float16",
    track: Callable = lambda it, **_: it,
    say: Callable[[str], None] = lambda text: None,
) -> Representations:
    """The representation cache of `records`, made or reused; one folder a key under `directory`.

    network: a `ScanningNetwork`. np_: cells a side. copies: 1 plain plus copies - 1 augmented ones. batch: images a
    step. max_side: see `plan`. precision: of the network's products, one of `PRECISIONS`. cache: the type that is kept,
    one of `CACHES`. track, say: see `prepare`.
    """
    check_types(precision, cache)
    if copies < 1 or (copies > 1 and augmentation is None):
        raise UserError(f"{copies} copies: expected at least 1, and an augmentation for more than 1")
    plans = record_plans(records, network, np_=np_, max_side=max_side)
    order = sorted(range(len(plans)), key=lambda i: (plans[i].input_shape, plans[i].describe(), i))
    shards: list[list[int]] = []
    for i in order:
        if shards and len(shards[-1]) < _SHARD and plans[shards[-1][0]] == plans[i]:
            shards[-1].append(i)
        else:
            shards.append([i])
    changes = vars(augmentation) if copies > 1 else None
    stage_key = stages.key(
        records=records.directory.name,
        network=network.identity,
        np=np_,
        tap=network.tap,
        copies=copies,
        augmentation=changes,
        seed=seed if copies > 1 else None,
        max_side=max_side,
        precision=precision,
        cache=cache,
        form=FORM,
    )
    folder = Path(directory) / stage_key
    if stages.is_finished(folder, stage_key):
        say(f"representations {stage_key} are reused")
        return Representations(folder)
    todo = [k for k in range(len(shards)) if not (folder / _shard_name(k)).is_file()]
    if len(todo) < len(shards):
        say(
            f"representations {stage_key}: {len(shards) - len(todo)} of {len(shards)} shards are there already"
        )
    pending = [(k, copy) for k in todo for copy in range(copies)]
    total = sum(len(shards[k]) for k, _ in pending)
    done = iter(track(range(total), total=total, description="scanning"))
    values: list[np.ndarray] = []
    for k, copy in pending:
        values.append(
            _scan_shard(
                records,
                shards[k],
                plans,
                network,
                seed=seed + 7919 * copy + k,
                augmentation=augmentation if copy else None,
                batch=batch,
                workers=workers,
                precision=precision,
                done=done,
            )
        )
        if copy == copies - 1:
            exact = np.stack(values, 1)
            kept = rounded(exact, cache)
            with writing(folder / _moments_name(k)) as file:
                np.save(file, _moments(exact, kept))
            with writing(folder / _shard_name(k)) as file:  # the last: it says that the shard is whole
                np.save(file, kept.view(np.uint16) if cache == "bfloat16" else kept)
            values = []
    next(done, None)
    shape = [np_, np_, network.channels]
    manifest = {
        "copies": copies,
        "shape": shape,
        "cache": cache,
        "precision": precision,
        "rounding": _rounding([np.load(folder / _moments_name(k)) for k in range(len(shards))])._asdict(),
        "shards": shards,
        "plans": sorted({p.describe() for p in plans}),
    }
    write_json(folder / "manifest.json", manifest)
    stages.finish(folder, stage_key, records=records.directory.name, network=network.identity)
    return Representations(folder)


class Prepare:
    """Picklable: an element's image becomes the network's input under its record's plan.

    plans: the plan of every record, by index.
    """

    def __init__(self, plans: Sequence):
        self._plans = tuple(plans)

    def __call__(self, element: dict) -> dict:
        from mammojax.models.scanning import prepare_image

        return {
            "input": prepare_image(element["image"], element["bits"], self._plans[element["index"]]),
            "index": element["index"],
        }


@functools.cache
def _compiled_scan():
    import jax

    from mammojax.models.scanning import scan

    return jax.jit(
        lambda graph, state, inputs, plan, precision: scan(
            _merge(graph, state), inputs, plan, dtype=np.dtype(precision)
        ),
        static_argnums=(0, 3, 4),
    )


def _merge(graph, state):
    from flax import nnx

    return nnx.merge(graph, state)


def _scan_shard(
    records, indices, plans, network, *, seed, augmentation, batch, workers, precision, done
) -> np.ndarray:
    """float32[n, np, np, c] of one shard."""
    from flax import nnx

    graph, state = nnx.split(network)
    plan = plans[indices[0]]
    elements = pipeline.crops(
        records, indices, augmentation=augmentation, seed=seed, transform=Prepare(plans), workers=workers
    )
    out, waiting = [], []

    def flush():
        filled = np.stack(waiting + [waiting[-1]] * (batch - len(waiting)))  # one program: the tail is padded
        result = _compiled_scan()(graph, state, filled, plan, precision)
        out.append(np.asarray(result)[: len(waiting)])
        for _ in waiting:
            next(done)
        waiting.clear()

    for element in elements:
        waiting.append(element["input"])
        if len(waiting) == batch:
            flush()
    if waiting:
        flush()
    return np.concatenate(out)
