"""Scores that lie on several devices, in a function that is not mapped over them: the loss goes to the scores.

A loss with `axis_name` moves moments and class sums only. Here the plain call becomes that one: the mesh and the axis are
those of the scores' own sharding, where JAX knows it (arrays outside of jit; axes of type Explicit, which `jax.make_mesh`
gives by default, anywhere), or those of the argument `sharding` (axes of type Auto under jit).
"""

import functools
import math
from collections.abc import Callable

import jax
from jax.sharding import NamedSharding, PartitionSpec

from mammojax.losses.inputs import check_labels


def place_of(scores: jax.Array, sharding: NamedSharding | None) -> tuple | None:
    """(mesh, axis name or names) along which the scores are split, or None if they are not."""
    if sharding is None:
        known = getattr(scores, "sharding", None) if not isinstance(scores, jax.core.Tracer) else None
        sharding = (
            known if isinstance(known, NamedSharding) else getattr(jax.typeof(scores), "sharding", None)
        )
    spec = getattr(sharding, "spec", ())
    if len(spec) != 1 or spec[0] is None:
        return None
    axes = spec[0] if isinstance(spec[0], tuple) else (spec[0],)
    explicit = (
        jax.sharding.AxisType.Explicit in sharding.mesh.axis_types
    )  # part of the array's type, even for one device
    if not explicit and math.prod(sharding.mesh.shape[axis] for axis in axes) == 1:
        return None
    return sharding.mesh, axes if len(axes) > 1 else axes[0]


def spread(
    loss: Callable,
    place: tuple,
    scores: jax.Array,
    labels: jax.Array,
    where: jax.Array | None,
    weights: jax.Array | None,
    **options,
) -> jax.Array:
    """loss(scores, labels, where=, weights=, axis_name=, **options) inside `shard_map` over `place`, as `place_of` says.

    Raises ValueError for labels outside {0, 1} that are not traced; JAX refuses a number of scores that does not divide.
    """
    check_labels(labels, where)
    return _program(loss, *place, tuple(sorted(options.items())))(scores, labels, where, weights)


@functools.lru_cache(maxsize=64)  # jitted once, for calls outside of jit
def _program(loss, mesh, axes, options):
    spec = PartitionSpec(axes)

    def part(scores, labels, where, weights):
        return loss(scores, labels, where=where, weights=weights, axis_name=axes, **dict(options))

    mapped = jax.shard_map(part, mesh=mesh, in_specs=spec, out_specs=PartitionSpec())
    explicit = all(t == jax.sharding.AxisType.Explicit for t in mesh.axis_types)

    @jax.jit
    def run(*arrays):
        if explicit:  # labels and masks may lie elsewhere
            arrays = jax.tree.map(lambda x: jax.sharding.reshard(x, NamedSharding(mesh, spec)), arrays)
        return mapped(*arrays)

    return run
