"""Running sums that compile quickly: by products of matrices and by short loops, where `lax.cumsum` and
`lax.associative_scan` write out log2(n) levels that take seconds to compile.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

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


def running_powers(weights: jax.Array, gaps: jax.Array, power: int) -> list[jax.Array]:
    """[S_0, ..., S_power], float[b, n] each: S_k is the sum over the places up to each of weight * (distance to it)^k.

    weights, gaps: float[b, n], gaps the distance of each place from the one before, at least zero: nothing cancels.
    Two loops of some sqrt(n) steps, along rows that are worked on side by side, and over their ends.
    """
    if power == 0:
        return [running_sum(weights)]
    batch, size = weights.shape
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

    weights, gaps = in_rows(weights), in_rows(gaps)
    start = (0 * weights[0],) * (power + 2)
    *inside, length = lax.scan(step, start, (weights, gaps))[1]

    def row(sums, end):
        *own, length = end
        return [x + y for x, y in zip(own, _move(sums, length))], sums

    ends = [x[-1].T for x in (*inside, length)]
    before = lax.scan(row, [0 * ends[0][0]] * (power + 1), ends)[1]
    moved = _move([x.T[None] for x in before], length)
    return [(x + y).transpose(1, 2, 0).reshape(batch, -1)[:, :size] for x, y in zip(inside, moved)]


def _move(sums, length):
    """The sums of weight * (distance + length)^k, by the binomial theorem."""
    return [
        sum((math.comb(k, j) * sums[j] * length ** (k - j) for j in range(k)), sums[k])
        for k in range(len(sums))
    ]
