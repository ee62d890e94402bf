"""All pairs in linear time: the logistic and the sigmoid loss by cells, square by moments, the hinges by sorting.

softplus and sigma are analytic, their nearest singularity pi away from the real axis. So within cells of half a unit a
sum over pairs is a short polynomial in the two offsets, and only moments of the offsets matter. Five steps:

1. Every score is placed in a cell (`axis.py`).
2. Moments of the offsets, per class and cell: the only pass in which scores meet, and all that travels between devices.
3. Near field: a stretch of 16 units and its two neighbours, cell by cell in one product of matrices (`cells.py`,
   `tables.py`).
4. Far field: softplus and sigma are exp(x) far below, x and 1 far above: running sums over such stretches.
5. The loss is a sum over cells; the gradient of a score is the polynomial of its cell at its offset.

After the fast multipole method (Greengard and Rokhlin 1987) and the fast Gauss transform (Greengard and Strain 1991).

Scores within about 128 units of each other lie on a plain grid. Where they do not fit, the grid without its empty
stretches takes over, and where not even that, every pair is computed (`tiled.py`): in one compiled program, and
`path` says which.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.losses import tiled
from mammojax.losses.fast import cells, polynomials, tables
from mammojax.losses.fast.axis import compressed_axis, fits_plain, plain_axis
from mammojax.losses.fast.chunks import sweep, zeros
from mammojax.losses.surrogates import Cells, Surrogate

PATHS = ("plain", "compressed", "tiled")  # in the order in which they are tried
_PLAIN_BLOCKS = 4  # 128 units of x
_FARTHEST_SHIFT = 1 << 30  # fine parts, of a margin: places are int32


def value_and_gradient(
    scores: jax.Array, weights: jax.Array, surrogate: Surrogate, axis_name: str | None = None
) -> tuple[jax.Array, jax.Array]:
    """The sum over pairs of `pair_sum.py` and its gradient by `scores`, float[n]."""
    if not isinstance(surrogate.fast, Cells):
        return polynomials.value_and_gradient(scores, weights, surrogate, axis_name)
    order = surrogate.fast.order

    def by_cells(grid):
        sources = cells.of_all_devices(grid, cells.moments(grid, scores, weights), axis_name)
        total, slopes = cells.loss_and_field(grid, order, sources)
        gradient = cells.evaluate(
            grid, slopes[None], lambda slope, w: -w * slope / surrogate.temperature, scores, weights
        )
        return total, gradient

    def by_tiles(weights):
        # scores that fit no grid are too far apart for its products of exponentials
        return tiled.value_and_gradient(scores, weights, surrogate, axis_name, factorise=False)

    nothing = jnp.zeros((), scores.dtype), zeros(scores.shape, weights)
    return _first_that_fits(scores, weights, surrogate, axis_name, by_cells, by_tiles, nothing)[0]


def curvature_product(
    scores: jax.Array,
    weights: jax.Array,
    tangent: jax.Array,
    surrogate: Surrogate,
    axis_name: str | None = None,
) -> jax.Array:
    """float[n]: the Hessian of the sum over pairs times `tangent`, float[n].

    Row a of it is w_a sum_b w_b f''(x_ab) (t_a - t_b): one field of the weights, and one of weights times tangent.
    """
    if not isinstance(surrogate.fast, Cells):
        return polynomials.curvature_product(scores, weights, tangent, surrogate, axis_name)
    order = surrogate.fast.order + 2

    def by_cells(grid):
        sources = [
            cells.of_all_devices(grid, cells.moments(grid, scores, weights, charge), axis_name)
            for charge in (None, tangent)
        ]
        fields = [cells.field(grid, order, x, cells.occupied(sources[0])) for x in sources]

        def combine(plain, charged, w, t):
            return jnp.abs(w) * (t * plain - charged) / surrogate.temperature**2

        return cells.evaluate(grid, jnp.stack(fields), combine, scores, weights, tangent)

    def by_tiles(weights):
        return tiled.curvature_product(scores, weights, tangent, surrogate, axis_name=axis_name)

    nothing = zeros(scores.shape, weights)
    return _first_that_fits(scores, weights, surrogate, axis_name, by_cells, by_tiles, nothing)[0]


def path(
    scores: jax.Array, weights: jax.Array, surrogate: Surrogate, axis_name: str | None = None
) -> jax.Array:
    """int32[]: the index in `PATHS` of the way that these scores take, for a surrogate whose fast form is `Cells`."""
    nothing = jnp.int32(0)
    return _first_that_fits(
        scores, weights, surrogate, axis_name, lambda grid: nothing, lambda weights: nothing, nothing
    )[1]


def _first_that_fits(scores, weights, surrogate, axis_name, by_cells, by_tiles, nothing):
    """(by_cells(grid) of the first grid that holds the scores, or else by_tiles(weights); which it was)"""
    low, high = _range(scores, weights, axis_name)

    wide = tables.layout(scores.dtype, surrogate.temperature, per_cell=1, fine_order=None)
    plain = wide
    if cells.by_scatter(scores.dtype):  # three additions a score in place of six
        plain = tables.layout(scores.dtype, surrogate.temperature, per_cell=16, fine_order=3)
    shift, residual = tables.margin_shift(surrogate, plain)
    if abs(shift) >= _FARTHEST_SHIFT:
        return by_tiles(weights), jnp.int32(PATHS.index("tiled"))
    fits = fits_plain(low, high, plain, _PLAIN_BLOCKS, shift)

    def on_plain(_):
        axis = plain_axis(low, plain, _PLAIN_BLOCKS, shift)
        return by_cells(cells.Grid(axis, plain, surrogate.temperature, residual))

    def any_at(mark, size):
        def body(seen, _, w, s):
            return seen.at[mark(s, w)].set(np.int8(1), mode="drop")

        seen = sweep(body, zeros((size,), weights, jnp.int8), weights, scores)
        return (seen if axis_name is None else lax.pmax(seen, axis_name)) == 1

    def on_compressed(_):
        shift, residual = tables.margin_shift(surrogate, wide)
        size = scores.shape[0] * (1 if axis_name is None else lax.axis_size(axis_name))
        axis, fits = compressed_axis(any_at, low, high, wide, _compressed_blocks(size), shift)
        return fits, by_cells(cells.Grid(axis, wide, surrogate.temperature, residual))

    result = _once(fits, on_plain, nothing)
    fits_wide, result = _once(~fits, on_compressed, (fits, result))
    result = _once(~fits_wide, lambda run: by_tiles(jnp.where(run, weights, 0)), result)
    return result, jnp.where(fits, 0, jnp.where(fits_wide, 1, 2)).astype(jnp.int32)


def _compressed_blocks(size: int) -> int:
    """Blocks of the compressed axis for `size` scores: Cauchy scores need 0.8 sqrt(size)."""
    return int(np.clip(64 * np.ceil(1.25 * np.sqrt(size) / 64), 512, 4096))


def _range(scores, weights, axis_name):
    low = jnp.min(jnp.where(weights != 0, scores, jnp.inf))
    high = jnp.max(jnp.where(weights != 0, scores, -jnp.inf))
    if axis_name is not None:
        low, high = lax.pmin(low, axis_name), lax.pmax(high, axis_name)
    return tuple(jnp.where(jnp.isfinite(x), x, 0) for x in (low, high))


def _once(run, compute, otherwise):
    """compute(True) if `run`, else `otherwise`. As a loop, not a cond: under vmap a cond computes both sides always, a
    loop only if any of the batch needs it. What does not depend on the argument of `compute`, XLA computes before it asks.
    """
    return lax.while_loop(lambda c: c[0], lambda c: (jnp.zeros_like(c[0]), compute(c[0])), (run, otherwise))[
        1
    ]
