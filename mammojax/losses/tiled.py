"""Every pair, exactly, without the pair matrix: tiles of positives by negatives, O(P + N) memory.

The value and the gradient come out of one loop over tiles: the row sums of a tile's slopes give the gradient of its
positives, the column sums that of its negatives. The loops run over the P N pairs that exist, although P and N are data
and the shapes are not: the samples of each class are listed first, and the number of tiles follows.

Two ways through a tile, one result:

*Plain*, for any surrogate: the surrogate of every difference. The rounding error of n - p is known exactly (Knuth's
two-sum) and enters to first order, for at a difference of 60 it alone would be 4e-6 of a slope.

*Factorised*, for the logistic surrogate where all scores of a tile lie within 40 of its centre c and its positives weigh
the same: exp(n - p) = exp(n - c) exp(c - p), so that a pair costs multiplications and one reciprocal; and the sum of
log(1 + e) over eight rows is the logarithm of a product. It is three times as fast on CPU.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.losses import platforms, ring, wide
from mammojax.losses.running import running_count
from mammojax.losses.surrogates import Cells, Surrogate

_ROWS = 512  # positives in a tile at most: fewer, larger tiles keep more cores busy
_COLUMNS = 2048  # negatives in a tile at most
_COUNTED_AT_ONCE = 1 << 16  # samples; O(1) memory beside their places
_PRODUCT = 8  # rows under one logarithm; (1 + 1)^8 cannot overflow
_SPAN = 40.0  # exp(2 * 40) is a float32, and so is its inverse


def value_and_gradient(
    scores: jax.Array,
    weights: jax.Array,
    surrogate: Surrogate,
    axis_name: str | None = None,
    *,
    factorise: bool = True,
) -> tuple[jax.Array, jax.Array]:
    """The sum over pairs of `pair_sum.py` and its gradient by `scores`, float[n].

    factorise: whether the program holds the factorised way besides the plain one; it takes as long to compile.
    """
    if axis_name is not None:
        return ring.value_and_gradient(
            lambda s, w: value_and_gradient(s, w, surrogate, factorise=factorise), scores, weights, axis_name
        )
    # else the sum can be a thousandth of its terms, and of their rounding errors not
    in_wide = surrogate.slopes_cancel and scores.dtype == np.float32
    if in_wide and platforms.here().float64:
        return _in_float64(surrogate)(scores, weights)
    size = scores.shape[0]
    tall, wide = (min(most, -(-size // 64) * 64) for most in (_ROWS, _COLUMNS))
    place, row_tiles, column_tiles = _places(weights, tall, wide)

    def listed(x):
        return jnp.zeros_like(x, shape=size + tall + wide).at[place].set(x, mode="drop")

    s, w = listed(scores), listed(weights)

    def members(at, extent):
        """Scores and weights of a tile's rows or columns; what does not exist weighs nothing."""
        # a gather, since XLA would take a slice anew for every pair
        place = at + np.arange(extent, dtype=np.int32)
        return jnp.take(s, place, mode="clip"), jnp.abs(jnp.take(w, place, mode="clip"))

    def add_tile(k, carry):
        total, *sums = carry
        rows, columns = lax.rem(k, row_tiles) * tall, row_tiles * tall + lax.div(k, row_tiles) * wide
        (p, a), (n, b) = members(rows, tall), members(columns, wide)
        if in_wide:
            cost, row_slopes, column_slopes = _wide_tile(p, a, n, b, surrogate)
        else:
            cost, row_slopes, column_slopes = _tile(p, a, n, b, surrogate, factorise)
        for at, new in ((rows, -a * row_slopes), (columns, b * column_slopes)):
            here = [lax.dynamic_slice(x, (at,), (new.shape[0],)) for x in sums]
            for part in jax.tree.leaves(new):
                here = _add(here, part)
            sums = [lax.dynamic_update_slice(x, y, (at,)) for x, y in zip(sums, here)]
        for part in jax.tree.leaves(cost):
            total = _add(total, part)
        return total, *sums

    zeros = 0 * w  # of data: under shard_map a carry that differs by device must start as one
    start = (zeros[0], zeros[0]), zeros, zeros
    total, slopes, _ = lax.fori_loop(np.int32(0), row_tiles * column_tiles, add_tile, start)
    return total[0], jnp.take(slopes, place, mode="fill", fill_value=0)


@functools.lru_cache(maxsize=64)
def _in_float64(surrogate):
    """value_and_gradient of float32 arrays. Under vmap row by row, since JAX batches a loop outside of enable_x64."""

    @jax.custom_batching.sequential_vmap
    def value_and_slopes(scores, weights):
        with jax.enable_x64(True):
            wide = (lax.convert_element_type(x, np.float64) for x in (scores, weights))
            found = value_and_gradient(*wide, surrogate)
            return tuple(lax.convert_element_type(x, np.float32) for x in found)

    return value_and_slopes


def _places(weights, tall, wide):
    """(int32[n], tiles of positives, tiles of negatives): where each sample is listed. Positives come first, in whole tiles
    of `tall`, and then the negatives, in tiles of `wide`; what does not count is nowhere."""
    size = weights.shape[0]
    chunk = min(_COUNTED_AT_ONCE, size)
    tall, wide, nowhere = np.int32(tall), np.int32(wide), np.int32(size + tall + wide)

    def count(i, carry):
        place, positives, negatives = carry
        at = jnp.minimum(i * np.int32(chunk), np.int32(size - chunk))
        index = at + np.arange(chunk, dtype=np.int32)
        weight = jnp.where(index >= i * np.int32(chunk), lax.dynamic_slice(weights, (at,), (chunk,)), 0)
        up, down = running_count(jnp.stack([weight > 0, weight < 0]))
        # negatives count downward from -1
        found = jnp.where(weight > 0, positives + up - 1, -negatives - down)
        found = jnp.where(weight != 0, found, lax.dynamic_slice(place, (at,), (chunk,)))
        return lax.dynamic_update_slice(place, found, (at,)), positives + up[-1], negatives + down[-1]

    zeros = (0 * weights).astype(jnp.int32)
    start = zeros + nowhere, zeros[0], zeros[0]
    place, positives, negatives = lax.fori_loop(np.int32(0), np.int32(-(-size // chunk)), count, start)
    rows, columns = lax.div(positives + (tall - 1), tall), lax.div(negatives + (wide - 1), wide)
    return jnp.where(place < 0, rows * tall - 1 - place, place), rows, columns


def _add(total, term):
    """Compensated (Kahan) addition of `term` to total = (sum, what rounding lost)."""
    value, lost = total
    term = term - lost
    new = value + term
    return new, (new - value) - term


def _tile(p, a, n, b, surrogate, factorise):
    """(sum of a b f, sums of f' b over the columns, sums of a f' over the rows)"""
    plain = functools.partial(_plain_tile, surrogate=surrogate)
    if not factorise or surrogate.fast != Cells(0):
        return plain(p, a, n, b)
    # what does not exist has no range
    low = jnp.minimum(jnp.min(p, where=a > 0, initial=jnp.inf), jnp.min(n, where=b > 0, initial=jnp.inf))
    high = jnp.maximum(jnp.max(p, where=a > 0, initial=-jnp.inf), jnp.max(n, where=b > 0, initial=-jnp.inf))
    reach = (high - low + abs(surrogate.margin)) / surrogate.temperature
    same_weight = jnp.all((a == jnp.max(a)) | (a == 0))
    factorised = functools.partial(_factorised_tile, low + (high - low) / 2, surrogate)
    return lax.cond(same_weight & (reach < 2 * _SPAN), factorised, plain, p, a, n, b)


def _plain_tile(p, a, n, b, surrogate):
    d, rest = _difference(n[None, :], p[:, None])
    slope = surrogate.slope(d)
    cost = surrogate.value(d) + slope * rest
    slope = slope + surrogate.curvature(d) * rest
    return _dot(a, _dot(cost, b)), _dot(slope, b), _column_sums(a, slope)


def _wide_tile(p, a, n, b, surrogate):
    """`_plain_tile` in wide numbers, for slopes that cancel."""
    a, b = wide.widen(a)[:, None], wide.widen(b)[None]
    d = wide.widen(n)[None] - wide.widen(p)[:, None]
    cost, slope = surrogate.value(d), surrogate.slope(d)
    return wide.total(a[:, 0] * wide.total(cost * b, 1)), wide.total(slope * b, 1), wide.total(a * slope, 0)


def _factorised_tile(centre, surrogate, p, a, n, b):
    """u = exp(x) is a product; sigma(x) = u / (1 + u), and exp(-|x|) = min(u, 1 / u) under the logarithm."""
    scale = 1 / surrogate.temperature
    n = jnp.where(b > 0, n, centre)[None, :]
    up_n, down_n = _exponentials(*_difference(n, centre), scale)
    exists = a > 0
    up_p, down_p = _exponentials(*_difference(jnp.where(exists, p, centre), centre + surrogate.margin), scale)
    # a row that is not there: u = 0, so exp(-|x|) = 0 and sigma = 0
    down_p, p = jnp.where(exists, down_p, 0), jnp.where(exists, p - surrogate.margin, jnp.inf)
    # the product less one, so that small terms are not lost; groups of rows that lie together: slices cost nothing
    products, linear, sigmas = 0.0, 0.0, []
    for down, up, at in zip(*(jnp.split(x[:, None], _PRODUCT) for x in (down_p, up_p, p))):
        u = down * up_n
        e = jnp.minimum(u, up * down_n)
        sigmas.append(u * (1 / (1 + u)))
        products = products + e * (1 + products)
        linear = linear + jnp.maximum((n - at) * scale, 0)
    cost = jnp.max(a) * jnp.sum(_dot(jnp.log1p(products) + linear, b))
    sigma = jnp.concatenate(sigmas)
    return cost, _dot(sigma, b) * scale, _column_sums(a, sigma) * scale


def _column_sums(a, slopes):
    """a @ slopes, the rows in two halves: 512 equal numbers in one running sum drift by 2.7e-6."""
    half = np.repeat(np.eye(2, dtype=a.dtype), a.shape[0] // 2, axis=1)
    return jnp.sum(_dot(half * a[None, :], slopes), axis=0)


def _exponentials(x, rest, scale):
    """exp((x + rest) scale) and its inverse, the rest to first order."""
    x, rest = x * scale, rest * scale
    return jnp.exp(x) * (1 + rest), jnp.exp(-x) * (1 - rest)


def _difference(x, y):
    """x - y and its rounding error, exactly (two-sum)."""
    d = x - y
    back = d - x
    return d, (x - (d - back)) - (y + back)


_dot = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)  # no TF32, no bfloat16


def curvature_product(
    scores: jax.Array,
    weights: jax.Array,
    tangent: jax.Array,
    surrogate: Surrogate,
    axis_name: str | None = None,
) -> jax.Array:
    """float[n]: the Hessian of the sum over pairs times `tangent`, by blocks of rows: O(n^2) time, O(n) memory."""
    if axis_name is not None:
        return ring.curvature_product(
            lambda *local: curvature_product(*local, surrogate), scores, weights, tangent, axis_name
        )
    size = scores.shape[0]
    rows = max(1, min(_ROWS * _COLUMNS // max(size, 1), size))

    def block(_, start):
        i = jnp.minimum(start + np.arange(rows), size - 1)
        s, w, t = (x[i, None] for x in (scores, weights, tangent))
        sign = jnp.where(w > 0, 1, -1).astype(s.dtype)
        pairs = jnp.maximum(-w * weights[None], 0)
        curvature = pairs * surrogate.curvature(sign * (scores[None] - s))
        return None, jnp.sum(curvature * (t - tangent[None]), axis=1)

    product = lax.scan(block, None, np.arange(0, size, rows))[1]
    return product.reshape(-1)[:size]
