"""Where a score lies on the grid of cells: the plain axis, and the compressed one for any range.

A score s lies in the fine part round(s / fine) of the axis. With a power of two for `fine` and rounding to nearest, the
division, the rounding and the offset s - fine * round(s / fine) are all exact in floating point, whatever the offset of
the scores.

On the compressed axis the cells come in blocks. Empty stretches become `gap` blocks, beyond which exp(-x) is nothing;
the places that blocks had are kept for the one sum that needs true distances. So heavy tails, and clusters any distance
apart, fit a grid of fixed size.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.losses.fast.tables import REACH, Layout
from mammojax.losses.running import running_count

_DIGIT_BITS = 11
_DIGIT = 1 << _DIGIT_BITS  # blocks that share the upper digit of their number
_UPPER = 1 << 15  # upper digits: a range of 2^26 blocks
_UPPER_USED = 128  # different upper digits that may occur


class Axis(NamedTuple):
    """A grid of `blocks` blocks of cells.

    place(scores, weights): the fine part on the grid, int32, and the offset from its centre, in units of a score.
    Weights are above zero for positives; a sample of weight zero lies at the lowest score, whatever its own.
    stretch: float[blocks], units of x left out between a block and the next.
    used: int32[], blocks from the first on that can hold scores; None: all.
    """

    place: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    blocks: int
    stretch: jax.Array
    used: jax.Array | None = None


def fits_plain(low: jax.Array, high: jax.Array, cells: Layout, blocks: int, shift: int) -> jax.Array:
    """Whether scores from `low` to `high` lie on `plain_axis`."""
    size = blocks * cells.block * cells.per_cell
    return jnp.round(high / cells.fine) - jnp.round(low / cells.fine) + abs(shift) < size


def plain_axis(low: jax.Array, cells: Layout, blocks: int, shift: int) -> Axis:
    """Cells from the lowest score on; positives move down by `shift` fine parts (the margin)."""
    first = jnp.round(low / cells.fine)

    def place(scores, weights):
        scores = jnp.where(weights != 0, scores, low)
        number = jnp.round(scores * (1 / cells.fine))
        part = (number - first).astype(jnp.int32) + max(shift, 0)
        return part - jnp.where(weights > 0, np.int32(shift), np.int32(0)), scores - number * cells.fine

    return Axis(place, blocks, jnp.zeros(blocks, low.dtype))


def compressed_axis(
    sweep: Callable, low: jax.Array, high: jax.Array, cells: Layout, blocks: int, shift: int
) -> tuple[Axis, jax.Array]:
    """The axis without its empty stretches, and whether everything fits it.

    sweep(mark, size): bool[size], whether any sample of any device is at a place mark(scores, weights) -> int32[n].
    """
    per_block = cells.block * cells.per_cell
    shift_blocks, shift_parts = divmod(shift, per_block)
    lowest = jnp.floor(jnp.round(low / cells.fine) / per_block)
    representable = jnp.maximum(-low, high) < 2.0**30 * per_block * cells.fine
    base = jnp.where(representable, lowest, 0).astype(jnp.int32) - max(shift_blocks, 0) - 1

    def locate(scores, weights):
        """(block counted from the lowest, fine part in the block, offset)"""
        scores, positive = jnp.where(weights != 0, scores, low), weights > 0
        number = jnp.round(scores * (1 / cells.fine))
        block = jnp.floor(number * (1 / per_block))
        part = (number - block * per_block).astype(jnp.int32) - jnp.where(
            positive, np.int32(shift_parts), np.int32(0)
        )
        borrow = part < 0
        borrowed = borrow.astype(jnp.int32) + jnp.where(positive, np.int32(shift_blocks), np.int32(0))
        counted = block.astype(jnp.int32) - base - borrowed
        return counted, jnp.where(borrow, part + per_block, part), scores - number * cells.fine

    top = jnp.floor(jnp.round(high / cells.fine) / per_block) - lowest + 1
    narrow = top + abs(shift_blocks) + 2 < _UPPER_USED * _DIGIT

    def key(block, rank):
        return jnp.take(rank, block >> _DIGIT_BITS, mode="clip") * _DIGIT + (block & (_DIGIT - 1))

    # first the upper digits that occur and those after them, so that what follows a score has room; then the blocks by
    # their digit's rank. Within 2^18 blocks every upper digit has its place, and one sweep over the scores is enough
    def look(_, carry):
        digits, rank, upper, _ = carry

        def mark(scores, weights):
            block = locate(scores, weights)[0]
            return jnp.where(digits, block >> _DIGIT_BITS, key(block, rank))

        seen = sweep(mark, _UPPER_USED * _DIGIT)
        upper = jnp.where(digits, seen[:_UPPER] | jnp.roll(seen[:_UPPER], 1), upper)
        return False & digits, running_count(upper) - 1, upper, seen

    digits, every = representable & ~narrow, np.arange(_UPPER, dtype=np.int32)
    start = (
        digits,
        jnp.minimum(every, _UPPER_USED - 1),
        every < _UPPER_USED,
        jnp.zeros(_UPPER_USED * _DIGIT, bool),
    )
    _, rank, upper, seen = lax.fori_loop(0, 1 + digits.astype(jnp.int32), look, start)
    # of a stretch of empty blocks the first `gap` are kept
    gap = math.ceil(REACH / (cells.block * cells.width))
    kept = functools.reduce(jnp.logical_or, [jnp.roll(seen, k).at[:k].set(False) for k in range(gap + 1)])
    at = running_count(kept) - 1
    used = at[-1] + 1
    fits = representable & (high - low < 2.0**25 * per_block * cells.fine)
    fits &= (used <= blocks) & (rank[-1] < _UPPER_USED)
    number_of = jnp.zeros(_UPPER_USED, jnp.int32).at[jnp.where(upper, rank, _UPPER_USED)]
    number_of = number_of.set(np.arange(_UPPER, dtype=np.int32), mode="drop")
    keys = np.arange(_UPPER_USED * _DIGIT, dtype=np.int32)
    true = jnp.take(number_of, keys >> _DIGIT_BITS) * _DIGIT + (keys & (_DIGIT - 1))
    true = jnp.zeros(blocks, jnp.int32).at[jnp.where(kept, at, blocks)].set(true, mode="drop")
    stretch = jnp.maximum(jnp.diff(true, append=true[-1:]) - 1, 0).astype(low.dtype)

    def place(scores, weights):
        block, part, offset = locate(scores, weights)
        return jnp.take(at, key(block, rank), mode="clip") * per_block + part, offset

    return Axis(place, blocks, stretch * (cells.block * cells.width), jnp.minimum(used, blocks)), fits
