"""Where a score lies on the grid of cells: the plain axis, and the compressed one for any range.

A score s lies in the fine part round(s / fine) of the axis. With a power of two for `fine` and rounding to nearest, the
division, the rounding and the offset s - fine * round(s / fine) are all exact in floating point, whatever the offset of
the scores.

On the compressed axis the cells come in blocks. Empty stretches become `gap` blocks, beyond which exp(-x) is nothing;
the places that blocks had are kept for the one sum that needs true distances. So heavy tails, and clusters any distance
apart, fit a grid of fixed size.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.losses.fast.tables import REACH, Layout
from mammojax.losses.running import running_count, running_sum

_DIGIT_BITS = 11
_DIGIT = 1 << _DIGIT_BITS  # blocks that share the upper digit of their number
_UPPER = 1 << 15  # upper digits: a range of 2^26 blocks
_UPPER_USED = 128  # different upper digits that may occur


class Axis(NamedTuple):
    """A grid of `blocks` blocks of cells.

    place(scores, weights): the fine part on the grid, int32, and the offset from its centre, in units of a score.
    Weights are above zero for positives; a sample of weight zero lies at the lowest score, whatever its own.
    stretch: float[blocks], units of x left out between a block and the next.
    occupied: bool[blocks], where there are scores; None: anywhere.
    """

    place: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    blocks: int
    stretch: jax.Array
    occupied: jax.Array | None


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

    return Axis(place, blocks, jnp.zeros(blocks, low.dtype), None)


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
    # within 2^18 blocks every upper digit has its place, and one sweep over the scores is enough
    upper = lax.while_loop(
        lambda c: c[0],
        lambda c: (jnp.zeros_like(c[0]), sweep(lambda s, w: locate(s, w)[0] >> _DIGIT_BITS, _UPPER)),
        (representable & ~narrow, np.arange(_UPPER) < _UPPER_USED),
    )[1]
    upper_rank = running_count(upper) - 1
    number_of = jnp.zeros(_UPPER_USED, jnp.int32).at[jnp.where(upper, upper_rank, _UPPER_USED)]
    number_of = number_of.set(np.arange(_UPPER, dtype=np.int32), mode="drop")

    def key(block):
        return jnp.take(upper_rank, block >> _DIGIT_BITS, mode="clip") * _DIGIT + (block & (_DIGIT - 1))

    seen = sweep(lambda s, w: key(locate(s, w)[0]), _UPPER_USED * _DIGIT)
    # the occupied blocks, one after the other: their keys and their true numbers; behind them the last one again
    rank = running_count(seen) - 1
    keys = jnp.zeros(blocks, jnp.int32).at[jnp.where(seen, rank, blocks)]
    keys = keys.set(np.arange(_UPPER_USED * _DIGIT, dtype=np.int32), mode="drop")
    listed = np.arange(blocks, dtype=np.int32) <= rank[-1]
    true = jnp.take(number_of, keys >> _DIGIT_BITS) * _DIGIT + (keys & (_DIGIT - 1))
    gap = math.ceil(REACH / (cells.block * cells.width))
    # the first occupied block becomes block 0; a stretch of more than `gap` empty blocks becomes `gap`
    apart = jnp.where(listed, jnp.diff(true, prepend=true[:1]), 0)
    step = jnp.minimum(apart, gap + 1)
    at = running_sum(step.astype(jnp.float32)).astype(jnp.int32)
    used = at[-1] + 1
    fits = representable & (high - low < 2.0**25 * per_block * cells.fine)
    fits &= (used <= blocks) & (rank[-1] < blocks) & (upper_rank[-1] < _UPPER_USED)

    start = jnp.zeros(_UPPER_USED * _DIGIT, jnp.int32).at[jnp.where(listed, keys, _UPPER_USED * _DIGIT)]
    start = start.set(at, mode="drop")
    stretch = jnp.zeros(blocks, low.dtype).at[jnp.where(listed & (at > 0), at - 1, blocks)]
    stretch = stretch.add((apart - step).astype(low.dtype), mode="drop")
    occupied = jnp.zeros(blocks, bool).at[jnp.where(listed, at, blocks)].set(True, mode="drop")

    def place(scores, weights):
        block, part, offset = locate(scores, weights)
        return jnp.take(start, key(block), mode="clip") * per_block + part, offset

    return Axis(place, blocks, stretch * (cells.block * cells.width), occupied), fits
