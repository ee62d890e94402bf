"""A training step on several devices: each has a part of the batch and of the score buffers, all have the parameters.

The step runs inside `jax.shard_map` and the loss in its sharded form, so that moments and class sums travel, never the
scores of the whole set; the gradient of parameters that are the same everywhere is summed by the mapping itself.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from mammojax.runs import devices
from mammojax.runs.devices import DATA, over_data, padded_to


def places(state: Any) -> Any:
    """A tree like a `TrainState` of PartitionSpec: all of it everywhere, but the score buffers as their `specs` say."""
    same = jax.tree.map(lambda _: PartitionSpec(), state)
    return same if state.buffers is None else same._replace(buffers=state.buffers.specs(DATA))


def placed(state: Any, mesh) -> Any:
    """The state, which every process has, on the devices of a mesh."""
    return jax.tree.map(
        lambda leaf, spec: devices.placed(leaf, NamedSharding(mesh, spec)), state, places(state)
    )


def spread(batch: Any, mesh) -> Any:
    """The arrays of a `Batch` over the axis `data`, filled up with masked copies of its first sample until the axis
    divides them; without the plan."""
    size = len(batch.inputs)
    fill = np.concatenate([np.arange(size), np.zeros(padded_to(size, mesh) - size, int)])
    filled = jax.tree.map(lambda x: np.asarray(x)[fill], batch._replace(plan=None))
    where = np.arange(len(fill)) < size
    if filled.where is not None:
        where &= filled.where
    return over_data(filled._replace(where=where), mesh)


def mapped(step: Callable, mesh, state: Any, report: type) -> Callable:
    """step(state, batch, maps, axis_name) -> (state, report) mapped over the axis `data`: the batch is spread, the maps
    are everywhere, the scores of the report are those of the whole batch."""
    told = {name: PartitionSpec() for name in report._fields} | {"scores": PartitionSpec(DATA)}
    return jax.shard_map(
        lambda state, batch, maps: step(state, batch, maps, DATA),
        mesh=mesh,
        in_specs=(places(state), PartitionSpec(DATA), PartitionSpec()),
        out_specs=(places(state), report(**told)),
    )
