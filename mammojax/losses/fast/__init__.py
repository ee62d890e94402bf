"""All pairs of the logistic and of the sigmoid loss in linear time; the other surrogates by sorting.

softplus and sigma are analytic, their nearest singularity pi away from the real axis. So within cells of half a unit a sum
over pairs is a short polynomial in the two offsets, and only moments of the offsets matter. Five steps:

1. Every score is placed in a cell (`axis.py`).
2. Moments of the offsets, per class and cell: the only pass in which scores meet, and all that travels between devices.
3. Near field: cells at most 16 units apart, by one banded product of matrices (`cells.py`, `tables.py`).
4. Far field: softplus and sigma are exp(x) far below, x and 1 far above: running sums over the cells.
5. The loss is a sum over cells; the gradient of a score is the polynomial of its cell at its offset.

After the fast multipole method (Greengard and Rokhlin 1987) and the fast Gauss transform (Greengard and Strain 1991).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.losses import tiled
from mammojax.losses.fast import cells, tables
from mammojax.losses.fast.axis import compressed_axis, fits_plain, plain_axis
from mammojax.losses.surrogates import Surrogate

PLAIN, COMPRESSED, TILED = range(3)  # the paths, in the order in which they are tried
_PLAIN_BLOCKS = 4  # 128 units of x
_ORDER = {"logistic": 0, "sigmoid": 1}  # as derivatives of softplus


def _compressed_blocks(size: int) -> int:
    """Blocks of the compressed axis for `size` scores: Cauchy scores need about sqrt(size)."""
    return int(np.clip(2 ** np.ceil(np.log2(2 * np.sqrt(size))), 512, 4096))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def pair_sum(scores, weights, surrogate: Surrogate, axis_name=None):
    """Sum over all pairs of w_i w_j f(x_ij), as in `materialized.pair_sum`, in linear time."""
    return _by_path(scores, weights, surrogate, axis_name, gradient=False)[0]


@pair_sum.defjvp
def _pair_sum_jvp(surrogate, axis_name, primals, tangents):
    total, gradient = _value_and_gradient(*primals, surrogate, axis_name)
    return total, _sum_over(jnp.sum(gradient * tangents[0]), axis_name)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _value_and_gradient(scores, weights, surrogate, axis_name):
    return _by_path(scores, weights, surrogate, axis_name, gradient=True)


@_value_and_gradient.defjvp
def _value_and_gradient_jvp(surrogate, axis_name, primals, tangents):
    total, gradient = _value_and_gradient(*primals, surrogate, axis_name)
    curved = _curvature_product(*primals, tangents[0], surrogate, axis_name)
    return (total, gradient), (_sum_over(jnp.sum(gradient * tangents[0]), axis_name), curved)


def path(scores, weights, surrogate, axis_name=None):
    raise NotImplementedError


def _sum_over(x, axis_name):
    return x if axis_name is None else lax.psum(x, axis_name)


def _range(scores, weights, axis_name):
    low = jnp.min(jnp.where(weights != 0, scores, jnp.inf))
    high = jnp.max(jnp.where(weights != 0, scores, -jnp.inf))
    if axis_name is not None:
        low, high = lax.pmin(low, axis_name), lax.pmax(high, axis_name)
    return low, high


def _grids(scores, weights, surrogate, axis_name):
    """For the plain and the compressed axis: whether the scores fit, and the function that makes the grid."""
    low, high = _range(scores, weights, axis_name)
    low, high = (jnp.where(jnp.isfinite(x), x, 0) for x in (low, high))

    def sweep(mark, start):
        marked = cells.sweep(lambda seen, s, w: mark(seen, jnp.where(w != 0, s, low), w > 0), start, scores, weights)
        return marked if axis_name is None else lax.pmax(marked, axis_name)

    plain = tables.layout(scores.dtype, surrogate.temperature, per_cell=16, fine_order=3)
    shift, residual = tables.margin_shift(surrogate, plain)
    fits = fits_plain(low, high, plain, _PLAIN_BLOCKS, shift)
    plain_grid = cells.Grid(plain_axis(low, plain, _PLAIN_BLOCKS, shift), plain, surrogate.temperature, residual)

    wide = tables.layout(scores.dtype, surrogate.temperature, per_cell=4, fine_order=4)
    shift, residual = tables.margin_shift(surrogate, wide)

    def compressed():
        axis, fits = compressed_axis(sweep, low, high, wide, _compressed_blocks(scores.shape[0]), shift)
        return cells.Grid(axis, wide, surrogate.temperature, residual), fits

    return low, (fits, plain_grid), compressed


def _once(run, compute, otherwise, *operands):
    """compute() if `run`, else `otherwise`: a cond that stays one under vmap, where it runs if any of the batch needs it."""
    return lax.cond(run, lambda *a: compute(*a[1:]), lambda *a: a[0], otherwise, *operands)


def _by_path(scores, weights, surrogate, axis_name, gradient):
    order = _ORDER[surrogate.name]

    def by(grid, inside, weights):
        sources = cells.moments(grid, inside, weights)[0]
        sources = _sum_over(sources, axis_name)
        slopes = cells.field(grid, order + 1, sources)
        total = cells.pair_total(grid, order, sources, slopes)
        if not gradient:
            return total, ()
        return total, -weights * cells.evaluate(grid, slopes, inside, weights) / surrogate.temperature

    def plain(scores, weights):
        low, (_, grid), _ = _grids(scores, weights, surrogate, axis_name)
        return by(grid, jnp.where(weights != 0, scores, low), weights)

    def wide(scores, weights):
        low, _, compressed = _grids(scores, weights, surrogate, axis_name)
        grid, fits = compressed()
        return fits, by(grid, jnp.where(weights != 0, scores, low), weights)

    zero = (jnp.zeros((), scores.dtype), jnp.zeros_like(scores) if gradient else ())
    fits = _grids(scores, weights, surrogate, axis_name)[1][0]
    result = _once(fits, plain, zero, scores, weights)
    fits_wide, result = _once(~fits, wide, (fits, result), scores, weights)
    return _once(~fits_wide, lambda s, w: exact(s, w, surrogate, gradient), result, scores, weights)


def exact(scores, weights, surrogate, gradient):
    total, g = tiled._value_and_gradient(scores, jnp.maximum(weights, 0), jnp.maximum(-weights, 0), surrogate)
    return total, g if gradient else ()


def _curvature_product(scores, weights, tangent, surrogate, axis_name):
    raise NotImplementedError
