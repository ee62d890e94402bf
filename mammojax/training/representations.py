"""The representation cache: every crop scanned once by the pretrained network, kept as float16 shards.

The paper, section 4: "to speed-up training, one can pre-compute the volumetric representations of all images". Copy 0 of
a record is the crop as it is; copies 1, 2, ... are augmented. Shards hold records of one plan, so that a data set of
any sizes compiles few programs; a killed scan goes on at the first missing shard.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mammojax import run
from mammojax.datasets import pipeline
from mammojax.datasets.pipeline import Augmentation
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError

FORM = 2  # raise when scanning changes what a shard holds
_SHARD = 32  # records a shard


class Representations:
    """Read access to a finished cache.

    `read(i, copy)` is float32[np, np, c] of record i; copies: number of copies of each record (>= 1).
    """

    def __init__(self, folder: Path):
        facts = run.read_json(Path(folder) / "manifest.json")
        self.folder = Path(folder)
        self.copies: int = facts["copies"]
        self.shape: tuple[int, int, int] = tuple(facts["shape"])
        self.plans: list[str] = facts["plans"]
        self._place = {i: (k, row) for k, shard in enumerate(facts["shards"]) for row, i in enumerate(shard)}
        self._open = functools.lru_cache(maxsize=256)(self._open_shard)  # a memory map costs a file handle

    def __len__(self) -> int:
        return len(self._place)

    def _open_shard(self, k: int) -> np.ndarray:
        return np.load(self.folder / _shard_name(k), mmap_mode="r")

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
    track: Callable = lambda it, **_: it,
    say: Callable[[str], None] = lambda text: None,
) -> Representations:
    """The representation cache of `records`, made or reused; one folder a key under `directory`.

    network: a `ScanningNetwork`. np_: cells a side. copies: 1 plain plus copies - 1 augmented ones. batch: images a
    step. max_side: see `plan`. track, say: see `prepare`.
    """
    from mammojax.models.scanning import plan

    if copies < 1 or (copies > 1 and augmentation is None):
        raise UserError(f"{copies} copies: expected at least 1, and an augmentation for more than 1")
    plans = [
        plan((r.height, r.width), network.backbone, np_, tap=network.tap, max_side=max_side)
        for r in records.records
    ]
    order = sorted(range(len(plans)), key=lambda i: (plans[i].input_shape, plans[i].describe(), i))
    shards: list[list[int]] = []
    for i in order:
        if shards and len(shards[-1]) < _SHARD and plans[shards[-1][0]] == plans[i]:
            shards[-1].append(i)
        else:
            shards.append([i])
    changes = vars(augmentation) if copies > 1 else None
    stage_key = run.key(
        records=records.directory.name,
        network=network.identity,
        np=np_,
        tap=network.tap,
        copies=copies,
        augmentation=changes,
        seed=seed if copies > 1 else None,
        max_side=max_side,
        form=FORM,
    )
    folder = Path(directory) / stage_key
    if run.is_finished(folder, stage_key):
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
                done=done,
            )
        )
        if copy == copies - 1:
            with run.writing(folder / _shard_name(k)) as file:
                np.save(file, np.stack(values, 1))
            values = []
    next(done, None)
    shape = [np_, np_, network.channels]
    manifest = {
        "copies": copies,
        "shape": shape,
        "shards": shards,
        "plans": sorted({p.describe() for p in plans}),
    }
    run.write_json(folder / "manifest.json", manifest)
    run.finish(folder, stage_key, records=records.directory.name, network=network.identity)
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
        lambda graph, state, inputs, plan: scan(_merge(graph, state), inputs, plan), static_argnums=(0, 3)
    )


def _merge(graph, state):
    from flax import nnx

    return nnx.merge(graph, state)


def _scan_shard(records, indices, plans, network, *, seed, augmentation, batch, workers, done) -> np.ndarray:
    """float16[n, np, np, c] of one shard."""
    from flax import nnx

    graph, state = nnx.split(network)
    plan = plans[indices[0]]
    elements = pipeline.crops(
        records, indices, augmentation=augmentation, seed=seed, transform=Prepare(plans), workers=workers
    )
    out, waiting = [], []

    def flush():
        filled = np.stack(waiting + [waiting[-1]] * (batch - len(waiting)))  # one program: the tail is padded
        result = _compiled_scan()(graph, state, filled, plan)
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
    values = np.concatenate(out)
    if not np.isfinite(values).all():
        raise UserError("the scanning network gave values that are not finite; check the weights file")
    kept = values.astype(np.float16)
    if not np.isfinite(kept).all():
        raise UserError(
            f"representations reach {np.abs(values).max():.0f}, beyond float16; choose another tap"
        )
    return kept
