"""Scores and their cells by products with one-hot matrices: no scatter, no gather and no float64, for hardware that is
made for products.

A cell is a row, its block and class, and a column, its place in the block. A score enters the moments by the outer product
of two one-hot vectors, which summed over scores is a product of matrices; and reads its cell's coefficients by the same.

The matrix unit multiplies numbers of 8 bits (bfloat16) and adds in float32. So each number is cut by its bits into three
of 8 bits, whose products with ones and zeros are exact; and sums of 8 bits stay exact, or nearly so, for the few thousand
scores of a chunk: 4,096 equal numbers, or numbers within a factor of 16, without any rounding. What chunks add up to is
kept as two float32 (`wide.py`).
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.losses.fast.chunks import sweep, zeros
from mammojax.losses.wide import Double, two_sum

_CHUNK = 1 << 12
_PARTS = 3  # of 8 bits in the 24 of a float32
_BFLOAT16 = np.int32(-1 << 16)  # the bits of a float32 that a bfloat16 has
# exact for these numbers whatever the default: they are bfloat16 already
_product = functools.partial(jnp.matmul, preferred_element_type=np.float32, precision=lax.Precision.DEFAULT)


def moments(grid, scores: jax.Array, weights: jax.Array, charges: tuple[jax.Array, ...]) -> jax.Array:
    """float32[2, cells, k]: as `cells.moments`, both classes on one axis. grid: `cells.Grid`, one fine part a cell."""
    axis, cells = grid.axis, grid.cells
    rows, q = 2 * axis.blocks, cells.order

    def add(sums, _, weights, scores, *charges):
        row, column, x = _places(grid, scores, weights)
        terms = [functools.reduce(lambda w, charge: w * charge, charges, jnp.abs(weights))]
        for k in range(1, q):
            terms.append(terms[-1] * x * np.float32(1 / k))
        parts = jnp.concatenate(_cut(jnp.stack(terms)))[:, None]  # [_PARTS * q, 1, n]
        spread = jnp.where(_one_hot(column, cells.block)[None], parts, 0).reshape(-1, len(x))
        new = _product(_one_hot(row, rows).astype(spread.dtype), spread.T)
        first, second, third = jnp.split(new, _PARTS, axis=-1)
        return sums + Double(*two_sum(first, second + third))

    nothing = zeros((rows, q * cells.block), weights)
    sums = sweep(add, Double(nothing, nothing), weights, scores, *charges, chunk=_CHUNK)
    return jnp.moveaxis(sums.high.reshape(2, axis.blocks, q, cells.block), 2, 3).reshape(2, -1, q)


def evaluate(
    grid, received: jax.Array, combine: Callable, scores: jax.Array, weights: jax.Array, *arrays: jax.Array
) -> jax.Array:
    """float32[n]: as `cells.evaluate`. received: [k, 2, cells, l], the fields that either class receives, on one axis."""
    axis, cells = grid.axis, grid.cells
    fields, rows, q = received.shape[0], 2 * axis.blocks, cells.order
    received = received / np.asarray([[[[math.factorial(l) for l in range(q)]]]], np.float32)
    table = received.reshape(fields, rows, cells.block, q).transpose(0, 3, 2, 1).reshape(-1, rows)
    table = jnp.concatenate(_cut(table))  # [(part, field, coefficient, column), row]

    def write(out, at, _, scores, weights, *arrays):
        row, column, x = _places(grid, scores, weights)
        picked = _product(table, _one_hot(row, rows).astype(table.dtype)).reshape(-1, cells.block, len(x))
        picked = jnp.sum(jnp.where(_one_hot(column, cells.block)[None], picked, 0), axis=1)
        first, second, third = jnp.split(picked, _PARTS)
        taken = (first + (second + third)).reshape(fields, q, len(x))
        values = [functools.reduce(lambda value, c: value * x + c, field[::-1]) for field in taken]
        return lax.dynamic_update_slice(out, combine(*values, weights, *arrays), (at,))

    return sweep(write, zeros(scores.shape, weights), weights, scores, weights, *arrays, chunk=_CHUNK)


def _places(grid, scores, weights):
    """(int32[n] block and class, int32[n] place in the block, float[n] offset in units of x)"""
    part, offset = grid.axis.place(scores, weights)
    block = lax.div(part, np.int32(grid.cells.block))
    row = block + jnp.where(weights > 0, np.int32(grid.axis.blocks), np.int32(0))
    return row, part - block * np.int32(grid.cells.block), offset / np.float32(grid.temperature)


def _one_hot(index, size):
    """bool[size, n]: samples come last, as the hardware has its long side there."""
    return index[None] == np.arange(size, dtype=np.int32)[:, None]


def _cut(x):
    """Three bfloat16 arrays whose sum is x, float32; the compiler would take a conversion there and back for nothing."""
    parts = []
    for _ in range(_PARTS - 1):
        part = lax.bitcast_convert_type(lax.bitcast_convert_type(x, np.int32) & _BFLOAT16, np.float32)
        parts.append(part.astype(jnp.bfloat16))
        x = x - part
    return [*parts, x.astype(jnp.bfloat16)]
