"""Every pair, exactly, without the pair matrix: tiles of positives by negatives, O(P + N) memory.

The value and the gradient come out of one loop over tiles: a tile's rows give the gradient of its positives,
its columns that of its negatives. The samples are first moved so that each class is contiguous; the loops
then run over the tiles that hold samples, P N pairs in all, although P and N are data and the shapes are not.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from mammojax.losses.surrogates import Surrogate

_ROWS = 64  # positives in a tile
_COLUMNS = 2048  # negatives in a tile


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def pair_sum(
    scores: jax.Array, positive_weights: jax.Array, negative_weights: jax.Array, surrogate: Surrogate
) -> jax.Array:
    """Sum over all pairs (i, j) of positive_weights[i] * negative_weights[j] * surrogate(scores[j] -
    scores[i]).

    scores: float[n]. positive_weights, negative_weights: float[n], zero for samples of the other class and
    masked ones; constants of the loss, without gradient. Differentiable in `scores` to any order.
    """
    return _value_and_gradient(scores, positive_weights, negative_weights, surrogate)[0]


@pair_sum.defjvp
def _pair_sum_jvp(surrogate, primals, tangents):
    value, gradient = _differentiable_gradient(*primals, surrogate)
    return value, jnp.sum(gradient * tangents[0])


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _differentiable_gradient(scores, positive_weights, negative_weights, surrogate):
    return _value_and_gradient(scores, positive_weights, negative_weights, surrogate)


@_differentiable_gradient.defjvp
def _differentiable_gradient_jvp(surrogate, primals, tangents):
    value, gradient = _differentiable_gradient(*primals, surrogate)
    curved = _curvature_product(*primals, tangents[0], surrogate)
    return (value, gradient), (jnp.sum(gradient * tangents[0]), curved)


def _value_and_gradient(scores, positive_weights, negative_weights, surrogate):
    size = scores.shape[0]
    positives, positive_place = _gather_class(scores, positive_weights, _ROWS)
    negatives, negative_place = _gather_class(scores, negative_weights, _COLUMNS)

    def row_of_tiles(i, carry):
        total, positive_slopes, negative_slopes = carry
        p, a = (lax.dynamic_slice(x, (i * _ROWS,), (_ROWS,)) for x in positives[:2])

        def tile(j, carry):
            costs, rows, columns = carry
            n, b = (lax.dynamic_slice(x, (j * _COLUMNS,), (_COLUMNS,)) for x in negatives[:2])
            d = n[None, :] - p[:, None]
            slopes = surrogate.slope(d)
            costs = _add(costs, surrogate.value(d) @ b)
            rows = _add(rows, slopes @ b)
            here = tuple(lax.dynamic_slice(x, (j * _COLUMNS,), (_COLUMNS,)) for x in columns)
            columns = tuple(
                lax.dynamic_update_slice(x, new, (j * _COLUMNS,))
                for x, new in zip(columns, _add(here, a @ slopes))
            )
            return costs, rows, columns

        zero = (jnp.zeros_like(p),) * 2
        costs, rows, negative_slopes = lax.fori_loop(0, negatives[2], tile, (zero, zero, negative_slopes))
        positive_slopes = lax.dynamic_update_slice(positive_slopes, rows[0], (i * _ROWS,))
        return _add(total, jnp.dot(a, costs[0])), positive_slopes, negative_slopes

    zero = jnp.zeros((), scores.dtype)
    start = ((zero, zero), jnp.zeros_like(positives[0]), (jnp.zeros_like(negatives[0]),) * 2)
    total, positive_slopes, negative_slopes = lax.fori_loop(0, positives[2], row_of_tiles, start)
    gradient = negative_weights * jnp.take(negative_slopes[0], negative_place, mode="clip")
    gradient -= positive_weights * jnp.take(positive_slopes, positive_place, mode="clip")
    assert gradient.shape == (size,)
    return total[0], gradient


def _gather_class(scores, weights, tile):
    """(scores, weights, number of tiles) of the samples with a weight, moved to the front; where each went."""
    size = -(-scores.shape[0] // tile) * tile
    member = weights != 0
    place = jnp.cumsum(member, dtype=jnp.int32) - 1
    target = jnp.where(member, place, size)
    # the rest of the last tile gets weight zero and the score of a member: no range it does not have
    moved = jnp.full(size, jnp.sum(jnp.where(place == 0, jnp.where(member, scores, 0), 0)))
    moved = moved.at[target].set(scores, mode="drop", unique_indices=True)
    moved_weights = jnp.zeros(size, weights.dtype).at[target].set(weights, mode="drop", unique_indices=True)
    return (moved, moved_weights, (place[-1] + tile) // tile), place


def _add(total, term):
    """Compensated (Kahan) addition of `term` to total = (sum, compensation)."""
    value, compensation = total
    term = term - compensation
    new = value + term
    return new, (new - value) - term


def _curvature_product(scores, positive_weights, negative_weights, tangent, surrogate):
    """The Hessian times `tangent`, by blocks of rows; linear in `tangent`, and itself differentiable."""
    rows = max(1, min(_ROWS * _COLUMNS // max(scores.shape[0], 1), scores.shape[0]))
    blocks = -(-scores.shape[0] // rows)

    # checkpoint: where the product is transposed, a block is computed again instead of kept, O(N) memory
    @jax.checkpoint
    def block(_, index):
        i = jnp.minimum(index * rows + jnp.arange(rows), scores.shape[0] - 1)
        d = scores[None, :] - scores[i, None]
        curvature = positive_weights[i, None] * negative_weights * surrogate.curvature(d)
        curvature += negative_weights[i, None] * positive_weights * surrogate.curvature(-d)
        return None, jnp.sum(curvature * (tangent[i, None] - tangent), axis=1)

    product = lax.scan(block, None, jnp.arange(blocks))[1]
    return product.reshape(-1)[: scores.shape[0]]
