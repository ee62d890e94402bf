"""A training step on several devices: each has a part of the batch and of the score buffers, all have the parameters.

The loss and its slopes are computed inside `jax.shard_map`, the loss in its sharded form, so that moments and class sums
travel, never the scores of the whole set; the gradient of parameters that are the same everywhere is summed by the mapping
itself. Large kernels may be spread too, with all that the optimiser keeps of them (ZeRO, Rajbhandari et al. 2020): a
device then collects a kernel for the step, and of its gradient gets the sum of its own part, which is all that it updates.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from mammojax.losses import ScoreBuffers
from mammojax.runs import devices
from mammojax.runs.devices import DATA, everywhere, gathered, over_data, padded_to

_SAME = PartitionSpec()
_LIKE_PARAMETERS = ("params", "opt_state", "average", "anchor")


def spread_axis(shape: Sequence[int], parts: int, least: int) -> int | None:
    """The axis along which an array of this shape is spread: its longest that `parts` divides, of equal ones the last.

    None for one of less than `least` numbers (0: for all), of fewer than two axes, or that no axis divides.
    """
    if not least or len(shape) < 2 or np.prod(shape) < least:
        return None
    found = [(side, axis) for axis, side in enumerate(shape) if side % parts == 0]
    return max(found)[1] if found else None


def kernel_places(tree: Any, mesh, least: int) -> Any:
    """A tree of PartitionSpec like one of parameters, or of what an optimiser keeps of them."""

    def one(leaf):
        axis = spread_axis(leaf.shape, mesh.shape[DATA], least)
        return _SAME if axis is None else PartitionSpec(*[None] * axis, DATA)

    return jax.tree.map(one, tree)


def places(state: Any, mesh, least: int) -> Any:
    """A tree like a `TrainState` of PartitionSpec: all of it everywhere, but the score buffers as their `specs` say, and
    kernels of `least` numbers and more."""
    spread = {name: kernel_places(getattr(state, name), mesh, least) for name in _LIKE_PARAMETERS}
    same = jax.tree.map(lambda _: _SAME, state)._replace(**spread)
    return same if state.buffers is None else same._replace(buffers=state.buffers.specs(DATA))


def placed(state: Any, mesh, least: int = 0) -> Any:
    """The state, which every process has, on the devices of a mesh; the slots of buffers filled up until these divide them."""
    if state.buffers is not None:
        state = _with_slots(state, padded_to(len(state.buffers.scores), mesh))
    return jax.tree.map(
        lambda leaf, spec: devices.placed(leaf, NamedSharding(mesh, spec)), state, places(state, mesh, least)
    )


def kept_so(state: Any, mesh, least: int) -> Any:
    """The state of a compiled step, said to lie as `placed` puts it."""
    if mesh is None or not least:
        return state

    def one(leaf, spec):
        return jax.lax.with_sharding_constraint(leaf, NamedSharding(mesh, spec))

    kept = {name: getattr(state, name) for name in _LIKE_PARAMETERS}
    return state._replace(
        **{name: jax.tree.map(one, tree, kernel_places(tree, mesh, least)) for name, tree in kept.items()}
    )


def portable(state: Any, mesh) -> Any:
    """The state in shapes that are the same on any number of devices: its buffers without the slots beyond the samples' own. All
    processes of the mesh call it."""
    if state.buffers is None:
        return state
    cut = _with_slots(state._replace(buffers=gathered(state.buffers, mesh)), _samples(state))
    return cut if mesh is None else cut._replace(buffers=everywhere(cut.buffers, mesh))


def settled(state: Any, like: Any, mesh) -> Any:
    """What `portable` gave, as a state like this one lies while it is trained."""
    if state.buffers is None:
        return state
    buffers = _with_slots(state, len(like.buffers.scores)).buffers
    if mesh is not None:
        specs = buffers.specs(DATA)
        buffers = jax.tree.map(
            lambda leaf, spec: devices.placed(leaf, NamedSharding(mesh, spec)), buffers, specs
        )
    return state._replace(buffers=buffers)


def _samples(state) -> int:
    """Of the training set."""
    return int(np.asarray(state.counts, np.float64).sum())


def _with_slots(state, number: int):
    """The state whose buffers of the policy `all` have so many slots: empty ones come behind the samples' own, or go."""
    if state.buffers is None or state.buffers.policy != "all":
        return state
    empty = ScoreBuffers.init("all", number)

    def one(new, old):
        common = min(new.shape, old.shape)
        return old if new.shape == old.shape else new.at[: common[0]].set(np.asarray(old)[: common[0]])

    return state._replace(buffers=jax.tree.map(one, empty, state.buffers))


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


def whole(params: Any, mesh) -> Any:
    """Parameters of a compiled function, all of them on every device."""
    if mesh is None:
        return params
    return jax.tree.map(lambda p: jax.lax.with_sharding_constraint(p, NamedSharding(mesh, _SAME)), params)


def mapped(part: Callable, mesh, least: int, state: Any, report: type) -> Callable:
    """part(state, batch, maps, whole) -> (gradient, variables, buffers, report) mapped over the axis `data`: the batch is
    spread, the maps are everywhere, the scores of the report are those of the whole batch. whole(params): the device's
    parts of the kernels, collected; slopes that go back through it are summed over the devices, to each its part."""
    lie = places(state, mesh, least)
    told = dict.fromkeys(report._fields, _SAME) | {"scores": PartitionSpec(DATA)}

    def collected(leaf, spec):
        if spec == _SAME:
            return leaf
        return jax.lax.all_gather(leaf, DATA, axis=len(spec) - 1, tiled=True)

    def whole(params):
        return jax.tree.map(collected, params, lie.params)

    return jax.shard_map(
        functools.partial(part, whole=whole),
        mesh=mesh,
        in_specs=(lie, PartitionSpec(DATA), _SAME),
        out_specs=(lie.params, lie.rest, lie.buffers, report(**told)),
    )
