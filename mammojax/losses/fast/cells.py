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

from mammojax.losses import platforms
from mammojax.losses.fast import products, tables
from mammojax.losses.fast.axis import Axis
from mammojax.losses.fast.chunks import sweep, zeros
from mammojax.losses.fast.tables import Layout
from mammojax.losses.running import running_count

_BLOCKS_SENT = 64  # between devices at a time; divides the blocks of the compressed axis
_UNITS_AT_ONCE = 64  # whose field is one product of matrices
_product = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)  # no TF32, no bfloat16


class Grid(NamedTuple):
    """What the sums need to know of the cells. residual: the part of the margin that no shift of cells expresses."""

    axis: Axis
    cells: Layout
    temperature: float
    residual: float


def moments(grid: Grid, scores: jax.Array, weights: jax.Array, charge: jax.Array | None = None) -> jax.Array:
    """M[2, cells, k]: sums over the scores of a cell of w * offset^k / k!; the positives' on the mirrored axis.

    w: |weights|, times `charge` if there is one; scores, weights, charge: float[n].
    """
    sums = _scattered if by_scatter(scores.dtype) else products.moments
    folded = sums(grid, scores, weights, () if charge is None else (charge,))
    return jnp.stack([folded[0], _mirror(folded[1])])


def by_scatter(dtype: np.dtype) -> bool:
    """Whether scores meet their cells by scatters and gathers, or by products (`products.py`)."""
    return dtype == np.float64 or platforms.here().float64


def _scattered(grid, scores, weights, charges):
    """[2, cells, k], both classes on one axis.

    The sums run in float64, where no number of scores in one cell makes them drift: in float32 the sum of 16,000
    equal numbers is off by 2e-4. It costs a few per cent, since a scatter spends its time on addresses.
    """
    axis, cells = grid.axis, grid.cells
    size = axis.blocks * cells.block
    parts = size * cells.per_cell
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
    return _product(fine, jnp.asarray(tables.fold(cells), scores.dtype)) if cells.per_cell > 1 else fine


def of_all_devices(grid: Grid, sources: jax.Array, axis_name: str | None) -> jax.Array:
    """`moments` of the scores of all devices along an axis of `shard_map`; of the blocks that are used, and no more, the sums
    travel."""
    if axis_name is None:
        return sources
    axis, batch, size = grid.axis, sources.shape[0], sources.shape[1]
    if axis.used is None:
        return lax.psum(sources, axis_name)
    piece = size // (axis.blocks // _BLOCKS_SENT)

    def send(i, total):
        begin = np.int32(0), i * piece, np.int32(0)
        part = lax.dynamic_slice(own, begin, (batch, piece, sources.shape[2]))
        return lax.dynamic_update_slice(total, lax.psum(part, axis_name), begin)

    own = _unmirrored(sources)
    pieces = -(-axis.used // _BLOCKS_SENT)
    return _unmirrored(lax.fori_loop(np.int32(0), pieces, send, jnp.zeros(own.shape, own.dtype)))


def _unmirrored(sources):
    """With the blocks of both classes in one order; its own inverse."""
    return jnp.stack([sources[0], sources[1, ::-1]])


def loss_and_field(grid: Grid, order: int, sources: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(sum over all pairs of weight * f(x), the field S[2, cells, l] of f'), f the derivative of softplus of order 0 or 1.

    sources: [2, cells, k], moments of the weights. S: the sum over all sources of charge * f'(x) around each cell of
    receivers, as sum_l S_l r^l / l!. For the sum no score is looked at again: the positives of a cell enter by their
    moments, and the coefficients of f after the first are those of f', negated.
    """
    q = grid.cells.order
    received = _received(grid, _slopes_and_values(order, grid), sources, occupied(sources))
    slopes, values = received[..., :q], received[0, :, q]
    positives = _mirror(sources[1])
    own = positives[:, 0] * values
    return jnp.sum(own - jnp.sum(positives[:, 1:] * slopes[0, :, :-1], axis=-1)), slopes


def occupied(sources: jax.Array) -> jax.Array:
    """bool[2, cells]: where there are receivers of each field, from the moments of the weights."""
    return sources[::-1, ::-1, 0] > 0


def field(grid: Grid, order: int, sources: jax.Array, receivers: jax.Array) -> jax.Array:
    """S[2, cells, l] of `loss_and_field`, of the derivative of softplus of order 2 or 3 alone, at `receivers`."""
    return _received(grid, tables.interaction(order - 1, grid.residual, grid.cells)[0], sources, receivers)


def evaluate(
    grid: Grid, coefficients: jax.Array, combine: Callable, scores: jax.Array, weights: jax.Array, *arrays
) -> jax.Array:
    """float[n]: combine(field at the score, weight, *arrays) for each score.

    coefficients: [k, 2, cells, l], of k fields as `field` makes them; combine is called with k values and by chunks.
    """
    cells = grid.cells
    # by the negatives, the positives
    received = jnp.stack([_mirror(coefficients[:, 1]), coefficients[:, 0]], 1)
    if not by_scatter(scores.dtype):
        return products.evaluate(grid, received, combine, scores, weights, *arrays)
    if cells.per_cell > 1:
        received = _product(received, jnp.asarray(tables.fold(cells), scores.dtype).T)
    parts = received.shape[2] * cells.per_cell
    columns = received.reshape(received.shape[0], 2 * parts, cells.fine_order)
    columns = [[column[:, l] / math.factorial(l) for l in range(cells.fine_order)] for column in columns]

    def write(out, at, weights, scores, all_weights, *arrays):
        part, offset = grid.axis.place(scores, all_weights)
        index = part + jnp.where(all_weights > 0, np.int32(parts), np.int32(0))
        x = offset / np.asarray(grid.temperature, offset.dtype)
        taken = [[jnp.take(column, index, mode="clip") for column in field] for field in columns]
        values = [functools.reduce(lambda value, c: value * x + c, reversed(field)) for field in taken]
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
    """The columns of `tables.interaction`: for each receiving cell those of the slopes, then that of the value."""
    slopes, values = tables.interaction(order, grid.residual, grid.cells)
    columns = slopes.reshape(len(slopes), -1, grid.cells.order), values[..., None]
    return np.concatenate(columns, axis=-1).reshape(len(slopes), -1)


def _received(grid, matrix, sources, receivers):
    """[2, cells, columns of the matrix a cell]: the field of all sources in the units that hold receivers, elsewhere zero."""
    unit = grid.cells.unit
    batch, size, q = sources.shape
    units = size // unit
    own = sources.reshape(batch, units, unit * q)
    far, own = _from_afar(grid, own), jnp.pad(own, ((0, 0), (1, 1), (0, 0)))
    matrix = jnp.asarray(matrix, sources.dtype)
    if batch * units <= _UNITS_AT_ONCE:
        around = [own[:, k : k + units] for k in range(3)]
        return _product(jnp.concatenate([*around, far], axis=-1), matrix).reshape(batch, size, -1)
    own, far = (x.reshape(-1, x.shape[-1]) for x in (own, far))
    number, listed = _list(jnp.any(receivers.reshape(-1, unit), axis=-1))

    def some(i, received):
        at = lax.dynamic_slice(listed, (i * _UNITS_AT_ONCE,), (_UNITS_AT_ONCE,))
        # each field has a unit of zeros at either end
        three = (at + 2 * (at // units))[:, None] + np.arange(3, dtype=np.int32)[None]
        around = jnp.take(own, three, axis=0, mode="clip").reshape(_UNITS_AT_ONCE, -1)
        new = _product(jnp.concatenate([around, jnp.take(far, at, axis=0, mode="clip")], axis=-1), matrix)
        return received.at[at].set(new, mode="drop")

    nothing = jnp.zeros((batch * units, matrix.shape[1]), sources.dtype) + 0 * sources[0, 0, 0]
    return lax.fori_loop(0, -(-number // _UNITS_AT_ONCE), some, nothing).reshape(batch, size, -1)


def _list(which):
    """(how many of bool[n] are True, int32[n + _UNITS_AT_ONCE]: their places, then n)"""
    size = which.shape[0]
    count = running_count(which)
    listed = jnp.full(size + _UNITS_AT_ONCE, size, jnp.int32)
    at = jnp.where(which, count - 1, size + _UNITS_AT_ONCE)
    return count[-1], listed.at[at].set(np.arange(size, dtype=np.int32), mode="drop")


def _from_afar(grid, own):
    """[2, units, 4]: the sums of `tables.FAR` over the units beyond the two neighbours of each.

    Relative accuracy to the smallest float: all terms are positive, and what is carried on is corrected for rounding. The
    last sum is right for the first field alone, the only one whose values are asked for."""
    axis, cells = grid.axis, grid.cells
    parts = _product(own, jnp.asarray(tables.far_sums(cells), own.dtype))
    parts = jnp.concatenate([parts[:, ::-1, :1], parts[..., 1:]], axis=-1)  # from the far end of the axis
    # how far each unit's start lies below that of the next; between blocks also what the compressed axis left out
    apart = (
        jnp.pad(axis.stretch[:, None], ((0, 0), (cells.block // cells.unit - 1, 0))).reshape(-1)
        + cells.length
    )
    decay = np.asarray([[math.exp(-cells.length)] * 2 + [1, 1]], own.dtype)
    moves = np.asarray([[0, 0, 0, 1]], own.dtype)

    def step(carry, unit):
        (sums, lost), (part, apart) = carry, unit
        moved = sums * decay
        term = part + sums[:, 2:3] * apart * moves - lost * decay
        sums = moved + term
        return (sums, (sums - moved) - term), sums

    sums = lax.scan(step, (0 * parts[:, 0],) * 2, (jnp.moveaxis(parts, 1, 0), apart), reverse=True)[1]
    sums = jnp.moveaxis(jnp.pad(sums[2:], ((0, 2), (0, 0), (0, 0))), 0, 1)
    return jnp.concatenate([sums[:, ::-1, :1], sums[..., 1:]], axis=-1)
