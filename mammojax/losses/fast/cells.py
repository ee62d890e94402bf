"""Sums over all pairs of cells: moments, near field, far field, evaluation. Derivation: `docs/losses.md`.

Arrays over cells are [2, cells, ...]: first the field that the negatives make, which positives receive; then the
field that the positives make, which negatives receive. The second lives on the mirrored axis (cells reversed,
offsets negated), on which n - p again grows with the source and falls with the receiver: one code serves both.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.losses.fast import tables
from mammojax.losses.fast.axis import Axis
from mammojax.losses.fast.tables import GROUP, REACH, Layout
from mammojax.losses.running import running_count, running_sum

CHUNK = 1 << 16  # scores that are worked on at a time: their powers stay in the cache, and memory is O(1)
_BLOCKS_AT_ONCE = 32  # of the band's product on the compressed axis; empty blocks cost nothing
_product = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)  # no TF32, no bfloat16


class Grid(NamedTuple):
    """What the sums need to know of the cells. residual: the part of the margin that no shift of cells expresses."""

    axis: Axis
    cells: Layout
    temperature: float
    residual: float


def sweep(body: Callable, start, weights: jax.Array, *arrays: jax.Array):
    """Fold body(carry, at, weights, *arrays) over chunks of the arrays, float[n] all; at: where the chunk begins.

    A sample that comes up twice (the last chunk overlaps the one before) has weight zero the second time.
    """
    size = weights.shape[0]
    chunk = min(CHUNK, size)
    if chunk == size:
        return body(start, np.int32(0), weights, *arrays)

    def step(i, carry):
        at = jnp.minimum(i * np.int32(chunk), np.int32(size - chunk))
        w, *parts = (lax.dynamic_slice(x, (at,), (chunk,)) for x in (weights, *arrays))
        again = at + np.arange(chunk, dtype=np.int32) < i * np.int32(chunk)
        return body(carry, at, jnp.where(again, 0, w), *parts)

    return lax.fori_loop(np.int32(0), np.int32(-(-size // chunk)), step, start)


def zeros(shape: tuple[int, ...], weights: jax.Array, dtype=None) -> jax.Array:
    """Zeros that are made of data: under `shard_map` they count as different on every device, as sums must."""
    return lax.convert_element_type(jnp.zeros(shape, weights.dtype) + 0 * weights[0], dtype or weights.dtype)


def moments(grid: Grid, scores: jax.Array, weights: jax.Array, charge: jax.Array | None = None) -> jax.Array:
    """M[2, cells, k]: sums over the scores of a cell of w * offset^k / k!; the positives' on the mirrored axis.

    w: |weights|, times `charge` if there is one; scores, weights, charge: float[n].

    The sums run in float64, where no number of scores in one cell makes them drift: in float32 the sum of 16,000
    equal numbers is off by 2e-4. It costs a few per cent, since a scatter spends its time on addresses.
    """
    axis, cells = grid.axis, grid.cells
    size = axis.blocks * cells.block
    parts = size * cells.per_cell
    charges = () if charge is None else (charge,)
    with jax.enable_x64(True):

        def add(sums, _, weights, scores, *charges):
            part, offset = axis.place(scores, weights)
            index = part + jnp.where(weights > 0, np.int32(parts), np.int32(0))
            term = jnp.abs(weights)
            for charge in charges:
                term = term * charge
            x = offset / np.asarray(grid.temperature, offset.dtype)
            out = []
            for k, total in enumerate(sums):
                term = term * x * np.asarray(1 / k, x.dtype) if k else term
                out.append(total.at[index].add(lax.convert_element_type(term, np.float64), mode="drop"))
            return tuple(out)

        start = (zeros((2 * parts,), weights, np.float64),) * cells.fine_order
        sums = sweep(add, start, weights, scores, *charges)
        sums = [lax.convert_element_type(total, scores.dtype) for total in sums]
    fine = jnp.stack(sums, axis=-1).reshape(2, size, -1)
    folded = _product(fine, jnp.asarray(tables.fold(cells), scores.dtype)) if cells.per_cell > 1 else fine
    return jnp.stack([folded[0], _mirror(folded[1])])


def loss_and_field(grid: Grid, order: int, sources: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(sum over all pairs of weight * f(x), the field S[2, cells, l] of f'), f the derivative of softplus of order 0 or 1.

    sources: [2, cells, k], moments of the weights. S: the sum over all sources of charge * f'(x) around each cell of
    receivers, as sum_l S_l r^l / l!. For the sum no score is looked at again: the positives of a cell enter by their
    moments, and the coefficients of f after the first are those of f', negated.
    """
    q = grid.cells.order
    near = _band(grid, _slopes_and_values(order, grid), sources)
    below, above = _exponential_tails(grid, sources)
    slopes = near[..., :q] + _of_tails(grid, order + 1, below, above)
    # charges and their offsets at and above each cell
    counts, offsets = running_sum(jnp.moveaxis(sources[..., :2], -1, 0), reverse=True)
    beyond = _shift(counts, -(grid.cells.near_cells + 1))
    values = near[0, :, q] + below[0]
    if order == 0:  # sigma is 1 far above, and softplus x
        slopes = slopes.at[..., 0].add(beyond)
        values = values + _distances_above(grid, counts[0], offsets[0])
    else:
        values = values + beyond[0]
    positives = _mirror(sources[1])
    own = positives[:, 0] * values
    return jnp.sum(own - jnp.sum(positives[:, 1:] * slopes[0, :, :-1], axis=-1)), slopes


def field(grid: Grid, order: int, sources: jax.Array) -> jax.Array:
    """S[2, cells, l] of `loss_and_field`, of the derivative of softplus of order 2 or 3 alone."""
    near = _band(grid, tables.band(order - 1, grid.residual, grid.cells)[0], sources)
    return near + _of_tails(grid, order, *_exponential_tails(grid, sources))


def evaluate(
    grid: Grid, coefficients: jax.Array, combine: Callable, scores: jax.Array, weights: jax.Array, *arrays
) -> jax.Array:
    """float[n]: combine(field at the score, weight, *arrays) for each score.

    coefficients: [k, 2, cells, l], of k fields as `field` makes them; combine is called with k values and by chunks.
    """
    cells = grid.cells
    received = jnp.stack(
        [_mirror(coefficients[:, 1]), coefficients[:, 0]], 1
    )  # by the negatives, the positives
    if cells.per_cell > 1:
        received = _product(received, jnp.asarray(tables.fold(cells), scores.dtype).T)
    parts = received.shape[2] * cells.per_cell
    columns = received.reshape(received.shape[0], 2 * parts, cells.fine_order)
    columns = [[column[:, l] / math.factorial(l) for l in range(cells.fine_order)] for column in columns]

    def write(out, at, weights, scores, all_weights, *arrays):
        part, offset = grid.axis.place(scores, all_weights)
        index = part + jnp.where(all_weights > 0, np.int32(parts), np.int32(0))
        x = offset / np.asarray(grid.temperature, offset.dtype)
        values = []
        for coefficient in columns:
            value = jnp.zeros_like(x)
            for column in reversed(coefficient):
                value = value * x + jnp.take(column, index, mode="clip")
            values.append(value)
        return lax.dynamic_update_slice(out, combine(*values, all_weights, *arrays), (at,))

    return sweep(write, zeros(scores.shape, weights), weights, scores, weights, *arrays)


def _signs(coefficients):
    """1, -1, 1, ... along the last axis, of as many axes."""
    signs = (-1.0) ** np.arange(coefficients.shape[-1])
    return np.asarray(signs, coefficients.dtype).reshape((1,) * (coefficients.ndim - 1) + (-1,))


def _mirror(coefficients):
    """[..., cells, k] on the reversed axis."""
    return coefficients[..., ::-1, :] * _signs(coefficients)


def _slopes_and_values(order, grid):
    """The columns of `tables.band`: for each receiving cell those of the slopes, then that of the value."""
    slopes, values = tables.band(order, grid.residual, grid.cells)
    columns = slopes.reshape(len(slopes), GROUP, grid.cells.order), values[..., None]
    return np.concatenate(columns, axis=-1).reshape(len(slopes), -1)


def _band(grid, matrix, sources):
    """The near field: groups of receivers by the groups around them, one matrix product; zero where nobody receives."""
    axis, cells = grid.axis, grid.cells
    batch, size, q = sources.shape
    side = -(-cells.near_cells // GROUP)
    edge = side * GROUP
    matrix = jnp.asarray(matrix, sources.dtype)
    padded = jnp.pad(sources, ((0, 0), (edge, edge), (0, 0)))

    def product(windows):
        groups = windows.shape[-2] // GROUP - 2 * side
        windows = windows.reshape(*windows.shape[:-2], groups + 2 * side, GROUP * q)
        around = jnp.concatenate([windows[..., k : k + groups, :] for k in range(2 * side + 1)], axis=-1)
        return _product(around, matrix)

    if axis.occupied is None:
        return product(padded).reshape(batch, size, -1)
    at_once = min(_BLOCKS_AT_ONCE, axis.blocks)
    listed, number = _list(axis.occupied, at_once)
    window = functools.partial(lax.dynamic_slice_in_dim, slice_size=cells.block + 2 * edge)

    def some(i, received):
        blocks = lax.dynamic_slice(listed, (i * at_once,), (at_once,))
        # the mirrored axis is used at its other end
        both = jnp.stack([blocks, jnp.where(blocks < axis.blocks, axis.blocks - 1 - blocks, axis.blocks)])
        windows = jax.vmap(lambda x, at: jax.vmap(lambda k: window(x, k * cells.block))(at))(padded, both)
        new = product(windows).reshape(batch, at_once, -1)
        return jax.vmap(lambda x, at, y: x.at[at].set(y, mode="drop"))(received, both, new)

    out = cells.block * matrix.shape[1] // GROUP
    nothing = jnp.zeros((batch, axis.blocks, out), sources.dtype) + 0 * sources[0, 0, 0]
    return lax.fori_loop(0, -(-number // at_once), some, nothing).reshape(batch, size, -1)


def _list(occupied, at_once):
    """(int32[blocks and at_once more], the numbers of the occupied blocks, then blocks that are none; how many)"""
    blocks = occupied.shape[0]
    place = running_count(occupied)
    listed = jnp.full(blocks + at_once, blocks, jnp.int32)
    at = jnp.where(occupied, place - 1, blocks + at_once)
    return listed.at[at].set(np.arange(blocks, dtype=np.int32), mode="drop"), place[-1]


def _exponential_tails(grid, sources):
    """[2, cells] twice: sums of charge * exp(x) over sources far below, of charge * exp(-x) over those far above.

    Relative accuracy to the smallest float: all terms are positive, and every power of exp(-h) is a constant and
    no product.
    """
    cells = grid.cells
    e = jnp.asarray(tables.exponential(cells), sources.dtype)[None, None]
    nearest = cells.width * (cells.near_cells + 1)
    charges = jnp.sum(sources * e, axis=-1), jnp.sum(sources * e * _signs(e), axis=-1)[:, ::-1]
    below, above = jnp.split(_decayed(grid, jnp.concatenate(charges)), 2)
    shift = cells.near_cells + 1
    return (
        _shift(below, shift) * math.exp(grid.residual - nearest),
        _shift(above[:, ::-1], -shift) * math.exp(-grid.residual - nearest),
    )


def _of_tails(grid, order, below, above):
    """What the tails add to the field of the derivative of softplus of that order, but for sigma's 1 far above."""
    e = jnp.asarray(tables.exponential(grid.cells), below.dtype)[None, None]
    total = below[..., None] * e * _signs(e)
    return total if order == 1 else total + (above if order == 2 else -above)[..., None] * e


def _decayed(grid, charge):
    """[2, cells]: sum over the cells b at and below each cell a of charge[b] * exp(-h (a - b))."""
    cells = grid.cells
    position = np.arange(cells.block)
    lag = position[None, :] - position[:, None]
    inside = np.where(lag >= 0, np.exp(-cells.width * np.maximum(lag, 0)), 0)
    blocks = charge.reshape(charge.shape[0], -1, cells.block)
    sums = _product(blocks, jnp.asarray(inside, charge.dtype))
    length = cells.width * cells.block
    carry = jnp.zeros_like(sums[..., -1])
    for k in range(1, min(math.ceil(REACH / length), blocks.shape[1] - 1) + 1):
        carry += _shift(sums[..., -1], k) * math.exp(-(k - 1) * length)
    decay = np.asarray(np.exp(-cells.width * (position + 1)), charge.dtype)
    return (sums + carry[..., None] * decay[None, None]).reshape(charge.shape)


def _distances_above(grid, counts, offsets):
    """[cells]: the sum of charge * x over the sources far above each cell's centre. All terms are positive.

    counts, offsets: [cells], the charges and the first moments at and above each cell."""
    axis, cells = grid.axis, grid.cells
    w, h = cells.near_cells, cells.width
    # from each cell to the next; between blocks also what the compressed axis left out
    gaps = jnp.full((axis.blocks, cells.block), h, counts.dtype).at[:, -1].add(axis.stretch).reshape(-1)
    beyond = running_sum(gaps * _shift(counts, -1), reverse=True)  # sum over t > c of (X_t - X_c) charge
    over = np.arange(axis.blocks * cells.block) % cells.block + w >= cells.block
    across = w * h + jnp.where(over, jnp.repeat(axis.stretch, cells.block), 0)  # X_(c + w) - X_c
    far = _shift(counts, -(w + 1))
    return _shift(beyond, -w) + (across + grid.residual) * far + _shift(offsets, -(w + 1))


def _shift(array, by):
    """The last axis moved up by `by` places, zeros moving in."""
    size = array.shape[-1]
    if abs(by) >= size:
        return jnp.zeros_like(array)
    width = [(0, 0)] * (array.ndim - 1)
    if by >= 0:
        return jnp.pad(array[..., : size - by], [*width, (by, 0)])
    return jnp.pad(array[..., -by:], [*width, (0, -by)])
