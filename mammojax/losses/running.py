"""Running sums that compile quickly: by products of matrices and by short loops, where `lax.cumsum` and
`lax.associative_scan` write out log2(n) levels that take seconds to compile.
"""

import functools
import math
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.losses.wide import Wide

_TRIANGLE = 32  # places of a running sum in one product; 512 equal numbers in one would drift by 2.7e-6
_COUNTED = 64  # of a count, which is exact
_product = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)  # no TF32, no bfloat16


def running_sum(x: jax.Array, triangle: int = _TRIANGLE) -> jax.Array:
    """Along the last axis, the sum of what stands at each place and before it: float[..., n].

    triangle: places that are summed by one product."""
    size = x.shape[-1]
    upper = np.tri(min(size, triangle), dtype=x.dtype).T
    if size <= triangle:
        return _product(x, upper)
    rows = -(-size // triangle)
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, rows * triangle - size)])
    inside = _product(x.reshape(*x.shape[:-1], rows, triangle), upper)
    before = jnp.pad(running_sum(inside[..., :-1, -1], triangle), [(0, 0)] * (x.ndim - 1) + [(1, 0)])
    return (inside + before[..., None]).reshape(x.shape)[..., :size]


def running_count(x: jax.Array) -> jax.Array:
    """int32[..., n]: how many of bool[..., n] are True at each place and before it; n < 2^24, which float32 holds."""
    return running_sum(x.astype(jnp.float32), _COUNTED).astype(jnp.int32)


def running(combine: Callable, x):
    """What combine(combine(x[0], x[1]), ...) is up to each place, for an associative `combine` of trees like x.

    x: a tree of arrays [n]. By two loops of some sqrt(n) steps, along rows that are worked on side by side and over their
    ends, which compile in a tenth of the time of `lax.associative_scan`.
    """
    size = jax.tree.leaves(x)[0].shape[0]
    columns = max(1, math.isqrt(size))

    def in_rows(part):
        return jnp.pad(part, (0, -size % columns), mode="edge").reshape(-1, columns).T

    def along(x):
        def step(carry, place):
            first, before = carry
            now = jax.tree.map(functools.partial(jnp.where, first), place, combine(before, place))
            return (first & False, now), now

        start = jax.tree.map(lambda part: part[0], x)
        first = jax.tree.leaves(start)[0] == jax.tree.leaves(start)[0]
        return lax.scan(step, (first | True, start), x)[1]

    inside = along(jax.tree.map(in_rows, x))
    ends = along(jax.tree.map(lambda part: part[-1], inside))
    before = jax.tree.map(lambda part: jnp.roll(part, 1)[None], ends)
    after_another = np.arange(jax.tree.leaves(ends)[0].shape[0])[None] > 0
    both = jax.tree.map(functools.partial(jnp.where, after_another), combine(before, inside), inside)
    return jax.tree.map(lambda part: part.T.reshape(-1)[:size], both)


def runs(keys: jax.Array, weights: Wide) -> tuple[Wide, Wide]:
    """For each place of sorted keys [n]: the weight before its run of equal keys, and that of the run.

    weights: wide numbers [n], at least zero."""
    through = running(operator.add, weights)
    before = jax.tree.map(lambda x: jnp.concatenate([0 * x[:1], x[:-1]]), through)
    first = jnp.concatenate([jnp.ones(1, bool), keys[1:] != keys[:-1]])
    last = jnp.concatenate([first[1:], jnp.ones(1, bool)])

    def latest(one, other):
        (_, old), (counts, new) = one, other
        return one[0] | counts, jax.tree.map(functools.partial(jnp.where, counts), new, old)

    before = running(latest, (first, before))[1]
    turned = running(latest, (last[::-1], jax.tree.map(lambda x: x[::-1], through)))[1]
    return before, jax.tree.map(lambda x: x[::-1], turned) - before


def running_powers(weights: Wide, gaps: Wide, power: int) -> list[Wide]:
    """[S_0, ..., S_power], [b, n] each: S_k is the sum over the places up to each of weight * (distance to it)^k.

    weights, gaps: wide numbers [b, n], gaps the distance of each place from the one before, at least zero: nothing cancels.
    Two loops of some sqrt(n) steps, along rows that are worked on side by side, and over their ends.
    """
    batch, size = jax.tree.leaves(weights)[0].shape
    columns = max(1, math.isqrt(size))
    rows = -(-size // columns)

    def in_rows(x):
        padded = jnp.pad(x, ((0, 0), (0, rows * columns - size)))
        return padded.reshape(batch, rows, columns).transpose(2, 0, 1)

    def step(carry, place):
        (*sums, length), (weight, gap) = carry, place
        sums = _move(sums, gap)
        new = sums[0] + weight, *sums[1:], length + gap
        return new, new

    places = jax.tree.map(in_rows, (weights, gaps))
    nothing = jax.tree.map(lambda x: 0 * x[0], places[0])
    *inside, length = lax.scan(step, (nothing,) * (power + 2), places)[1]

    def row(sums, end):
        *own, length = end
        return [x + y for x, y in zip(own, _move(sums, length))], sums

    ends = jax.tree.map(lambda x: x[-1].T, [*inside, length])
    nothing = jax.tree.map(lambda x: 0 * x[0], ends[0])
    before = lax.scan(row, [nothing] * (power + 1), ends)[1]
    moved = _move(jax.tree.map(lambda x: x.T[None], before), length)
    found = [x + y for x, y in zip(inside, moved)]
    return jax.tree.map(lambda x: x.transpose(1, 2, 0).reshape(batch, -1)[:, :size], found)


def _move(sums, length):
    """The sums of weight * (distance + length)^k, by the binomial theorem."""
    powers = [length]
    for _ in sums[2:]:
        powers.append(powers[-1] * length)
    return [
        sum((math.comb(k, j) * (sums[j] * powers[k - j - 1]) for j in range(k)), sums[k])
        for k in range(len(sums))
    ]
