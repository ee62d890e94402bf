"""Batches for the two stages: maps (stage one), pixels of crops (stage two).

The order of epoch e is a function of the seed and e alone, so a resumed run sees what it would have seen. The batches of
one optimiser step are a group.
"""

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import grain
import numpy as np

from mammojax.datasets import pipeline
from mammojax.datasets.pipeline import Augmentation
from mammojax.datasets.record import RecordSet
from mammojax.representations.bags import Bags
from mammojax.representations.scan import Prepare, plan_cells
from mammojax.runs import stopping
from mammojax.runs.devices import own_rows
from mammojax.training import sampling
from mammojax.training.step import Batch


def padded(elements: dict, labels: np.ndarray, size: int, plan=None, weights=None) -> Batch:
    """A batch of `size` from up to as many elements; padding repeats the first element and is masked. weights: float32[n] of
    all samples, as labels are."""
    n = len(elements["slot"])
    fill = np.concatenate([np.arange(n), np.zeros(size - n, int)])
    index = np.asarray(elements["index"])[fill]
    return Batch(
        inputs=np.asarray(elements["inputs"], np.float32)[fill],
        labels=labels[index].astype(np.int32),
        ids=np.asarray(elements["slot"], np.int32)[fill],
        where=np.arange(size) < n,
        tissue=np.asarray(elements["tissue"], bool)[fill],
        plan=plan,
        weights=None if weights is None else weights[index],
    )


def order(samples: int, copies: int, *, seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """(int[n], int[n]): the samples of an epoch in their order, and the copy that each is read from."""
    rng = np.random.default_rng([seed, epoch])
    return rng.permutation(samples), rng.integers(copies, size=samples)


class Drawing(NamedTuple):
    """How the batches of an epoch are drawn. size: of a batch. share: of positives in each; 0: as they come. weights:
    float32[n] of all samples, None: 1 each."""

    size: int
    share: float = 0.0
    weights: np.ndarray | None = None

    def order(
        self, labels: np.ndarray, copies: int, *, seed: int, epoch: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """`order` of the samples with these labels, or one whose batches have the share of positives."""
        if not self.share:
            return order(len(labels), copies, seed=seed, epoch=epoch)
        rng = np.random.default_rng([seed, epoch])
        chosen = sampling.balanced_order(labels, batch=self.size, share=self.share, rng=rng)
        return chosen, rng.integers(copies, size=len(labels))

    def weights_of(self, indices: Sequence[int], labels: np.ndarray) -> np.ndarray | None:
        """float32[n] of all samples, right for those of `indices`: their weights, and what undoes the share. labels: of
        all samples."""
        if not self.share:
            return self.weights
        weights = np.ones(len(labels), np.float32) if self.weights is None else self.weights.copy()
        chosen = np.asarray(indices)
        weights[chosen] *= sampling.importance(labels[chosen], batch=self.size, share=self.share)
        return weights


def row_batches(
    indices: Sequence[int], labels: np.ndarray, *, drawing: Drawing, copies: int, seed: int, epoch: int
) -> Batch:
    """An epoch over samples whose maps lie on the device: a `Batch` of arrays [steps, b], its inputs rows of the maps.

    labels: int[n] of all samples. The last batch is padded; ids are positions in `indices`.
    """
    batch, weights = drawing.size, drawing.weights_of(indices, labels)
    chosen, copy = drawing.order(labels[np.asarray(indices)], copies, seed=seed, epoch=epoch)
    steps = -(-len(chosen) // batch)
    fill = np.concatenate([np.arange(len(chosen)), np.zeros(steps * batch - len(chosen), int)])
    slots = chosen[fill]
    records = np.asarray(indices)[slots]
    shape = (steps, batch)
    return Batch(
        inputs=(records * copies + copy[fill]).astype(np.int32).reshape(shape),
        labels=labels[records].astype(np.int32).reshape(shape),
        ids=slots.astype(np.int32).reshape(shape),
        where=(np.arange(steps * batch) < len(chosen)).reshape(shape),
        weights=None if weights is None else weights[records].reshape(shape),
    )


class _Chosen:
    """Samples of an epoch in their order, with their maps: a random-access source for Grain. own: of a batch, the rows
    that are read."""

    def __init__(
        self,
        bags: Bags,
        indices: Sequence[int],
        slots: np.ndarray,
        copies: np.ndarray,
        batch: int,
        own: range,
    ):
        self._bags, self._indices, self._slots, self._copies = bags, indices, slots, copies
        self._batch, self._own = batch, own

    def __len__(self) -> int:
        return len(self._slots)

    def __getitem__(self, k: int) -> dict:
        slot = int(self._slots[k])
        if k % self._batch in self._own:
            values, tissue = self._bags.read(int(self._indices[slot]), int(self._copies[k]))
        else:
            values, tissue = _unread(self._bags.shape, self._bags.shape[:2])
        return {"slot": slot, "index": int(self._indices[slot]), "inputs": values, "tissue": tissue}


def map_batches(
    bags: Bags,
    indices: Sequence[int],
    labels: np.ndarray,
    *,
    drawing: Drawing,
    seed: int,
    group: int = 1,
    mesh=None,
) -> Callable[..., Iterator[tuple[Batch, ...]]]:
    """batches(epoch, begin=0) of the samples `indices`, shuffled anew every epoch, in groups of `group` batches (0: all);
    begin: how many groups are left out. mesh: that groups of one batch are to be spread over; what lies on other processes'
    devices is not read."""
    batch, weights = drawing.size, drawing.weights_of(indices, labels)
    of_chosen = labels[np.asarray(indices)]
    own = own_rows(batch, mesh if group == 1 else None)

    def batches(epoch: int, begin: int = 0) -> Iterator[tuple[Batch, ...]]:
        left_out = begin * batch * group if group else begin * len(indices)
        drawn = drawing.order(of_chosen, bags.copies, seed=seed, epoch=epoch)
        chosen, copies = (part[left_out:] for part in drawn)
        if not len(chosen):
            return
        source = grain.MapDataset.source(_Chosen(bags, indices, chosen, copies, batch, own))
        one = source.batch(batch, drop_remainder=False)
        gathered: list[Batch] = []
        for elements in one.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)):
            gathered.append(padded(elements, labels, batch, weights=weights))
            if len(gathered) == group:
                yield tuple(gathered)
                gathered = []
        if gathered:
            yield tuple(gathered)

    return batches


def steps_per_epoch(samples: int, *, batch: int, group: int = 1) -> int:
    """Optimiser steps an epoch."""
    batches = -(-samples // batch)
    return 1 if group == 0 else -(-batches // group)


def evaluation_batches(
    bags: Bags, indices: Sequence[int], labels: np.ndarray, *, batch: int, mesh=None
) -> Iterator[Batch]:
    """Plain copies of the samples `indices`, in order, read as they are asked for; the last batch is padded. mesh: see
    `map_batches`."""
    own = own_rows(batch, mesh)
    for begin in range(0, len(indices), batch):
        chosen = [int(i) for i in indices[begin : begin + batch]]
        read = [
            bags.read(i) if row in own else _unread(bags.shape, bags.shape[:2])
            for row, i in enumerate(chosen)
        ]
        values = {
            "slot": np.arange(len(chosen)),
            "index": chosen,
            "inputs": [values for values, _ in read],
            "tissue": [tissue for _, tissue in read],
        }
        yield padded(values, labels, batch)


def score_all(score: Callable, batches: Iterator[Batch]) -> np.ndarray:
    """float32[n]: scores of all batches in order, padding removed. Raises `Stopped` between two of them."""
    found = []
    for batch in batches:
        found.append(np.asarray(score(batch))[np.asarray(batch.where)])
        stopping.check()
    return np.concatenate(found)


def plan_batches(indices: Sequence[int], plans: Sequence, batch: int) -> Iterator[tuple]:
    """(plan, record numbers) of batches that have one plan each, in the order of the plans' first records."""
    by_plan: dict = {}
    for i in indices:
        by_plan.setdefault(plans[int(i)], []).append(int(i))
    for plan, chosen in by_plan.items():
        for k in range(0, len(chosen), batch):
            yield plan, chosen[k : k + batch]


def pixel_batches(
    records: RecordSet,
    indices: Sequence[int],
    labels: np.ndarray,
    plans: Sequence,
    *,
    batch: int,
    seed: int,
    augmentation: Augmentation | None = None,
    intensity: str = "none",
    group: int = 1,
    shuffle: bool = True,
    weights: np.ndarray | None = None,
    workers: int = 0,
    mesh=None,
) -> Callable[..., Iterator[Collection[Batch]]]:
    """batches(epoch, begin=0) of prepared pixels, in groups of `group` batches (0: all) but the first `begin` groups;
    every batch has one plan, the order of batches is shuffled.

    plans: the plan of every record of `records`. weights: float32[n], as labels are. A group of several batches reads its pixels each time it is gone
    through, so that only a few are in memory at a time. The pairwise loss does not need both classes in a batch: the
    buffers supply them. mesh: see `map_batches`.
    """
    own = own_rows(batch, mesh if group == 1 else None)
    slots = {int(i): slot for slot, i in enumerate(indices)}

    def read(parts, seed: int, begin: int = 0) -> Iterator[Batch]:
        first = np.cumsum([0, *(len(chosen) for _, chosen in parts)])
        places = [first[k] + row for k in range(begin, len(parts)) for row in own if row < len(parts[k][1])]
        elements = pipeline.crops(
            records,
            [i for _, chosen in parts for i in chosen],
            augmentation=augmentation,
            workers=workers,
            seed=seed,
            transform=Prepare(plans, intensity),
            places=places,
        )
        for plan, chosen in parts[begin:]:
            read = [next(elements) if row in own else _unread_pixels(plan) for row in range(len(chosen))]
            values = {
                "inputs": [element["input"] for element in read],
                "tissue": [
                    on_whole_map(element["cells"], getattr(plan, "map_shape", None)) for element in read
                ],
                "index": chosen,
                "slot": [slots[i] for i in chosen],
            }
            yield padded(values, labels, batch, plan, weights)

    def batches(epoch: int, begin: int = 0) -> Iterator[Collection[Batch]]:
        rng = np.random.default_rng([seed, epoch])
        parts = list(plan_batches(rng.permutation(indices) if shuffle else indices, plans, batch))
        if shuffle:
            parts = [parts[k] for k in rng.permutation(len(parts))]
        if group == 1:
            yield from ((one,) for one in read(parts, int(rng.integers(2**31)), begin))
            return
        size = group or len(parts)
        for k in range(0, len(parts), size):
            chosen, own = parts[k : k + size], int(rng.integers(2**31))
            if k >= begin * size:
                yield _Group(functools.partial(read, chosen, own), len(chosen))

    return batches


def on_whole_map(cells: np.ndarray, shape: tuple[int, int] | None) -> np.ndarray:
    """The mask on the map of the whole padded crop: crops of one dense plan cover different parts of it."""
    if shape is None:
        return cells
    out = np.zeros(shape, bool)
    out[: cells.shape[0], : cells.shape[1]] = cells
    return out


def _unread(shape: tuple[int, ...], cells: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """In place of a sample that lies on another process's devices; with cells, since a score of none is not finite and
    padding may be a copy of it."""
    return np.broadcast_to(np.float32(0), shape), np.broadcast_to(True, cells)


def _unread_pixels(plan) -> dict:
    image, cells = _unread((*plan.input_shape, 1), getattr(plan, "map_shape", None) or plan_cells(plan))
    return {"input": image, "cells": cells}


class _Group:
    """Batches that are made anew each time they are gone through; the same each time."""

    def __init__(self, make: Callable[[], Iterator[Batch]], size: int):
        self._make, self._size = make, size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Batch]:
        return self._make()
