"""Pairs within groups: samples of one id that are to be paired with nobody else, or not with each other.

Sorted by id, the members of a group lie together, and two of them are at most (largest group - 1) places apart. So the
sum over the pairs within groups is a sum over the distances 1, 2, ... of one pass over neighbours, exact for every
surrogate: O(N log N + N x largest group) time, O(N) memory. The number of passes is data, not shape.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.losses.surrogates import Surrogate


def within_groups(
    scores: jax.Array, positive: jax.Array, negative: jax.Array, groups: jax.Array, surrogate: Surrogate
) -> tuple[jax.Array, jax.Array]:
    """(sum over the pairs of a positive i and a negative j of equal groups of positive[i] * negative[j] *
    surrogate(scores[j] - scores[i]), sum of positive[i] * negative[j] over the same pairs): float[] each.

    scores: float[n], finite where they count. positive, negative: float[n], at least zero, and not both above it.
    groups: int[n]. Differentiable in `scores`, once.
    """
    return _total(scores, lax.stop_gradient(positive - negative), groups, surrogate)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _total(scores, weights, groups, surrogate):
    return _sums(scores, weights, groups, surrogate)[:2]


@_total.defjvp
def _total_jvp(surrogate, primals, tangents):
    total, pairs, slopes = _sums(*primals, surrogate)
    return (total, pairs), (jnp.sum(slopes * tangents[0]), jnp.zeros_like(pairs))


def _sums(scores, weights, groups, surrogate):
    """(total, pairs, float[n] slopes)"""
    size = scores.shape[0]
    if size < 2:
        return jnp.zeros_like(scores, shape=()), jnp.zeros_like(scores, shape=()), jnp.zeros_like(scores)
    # what does not count is sorted out: it makes no group larger
    counts = (weights != 0).astype(jnp.int32)
    index = np.arange(size, dtype=np.int32)
    absent, ids, s, w, order = lax.sort((1 - counts, groups, scores, weights, index), num_keys=2)
    present = absent == 0

    def pairs_at(distance):
        def behind(x):
            return jnp.roll(x, -distance)

        together = present & behind(present) & (ids == behind(ids)) & (index < size - distance)
        pair = jnp.where(together & (w * behind(w) < 0), jnp.abs(w * behind(w)), 0)
        return together, behind, pair

    def more(carry):
        return carry[0]

    def one(carry):
        _, distance, total, pairs, slopes = carry
        _, behind, pair = pairs_at(distance)
        sign = jnp.where(w > 0, 1, -1).astype(s.dtype)  # d = negative - positive, whichever comes first
        d = jnp.where(pair > 0, sign * (behind(s) - s), 0)
        slope = pair * sign * surrogate.slope(d)
        total = _add(total, jnp.sum(pair * surrogate.value(d)))
        slopes = _add(slopes, jnp.roll(slope, distance) - slope)
        return jnp.any(pairs_at(distance + 1)[0]), distance + 1, total, pairs + jnp.sum(pair), slopes

    zero = jnp.zeros_like(s[0])
    start = jnp.any(pairs_at(1)[0]), jnp.int32(1), (zero, zero), zero, (0 * s, 0 * s)
    _, _, total, pairs, slopes = lax.while_loop(more, one, start)
    return total[0], pairs, jnp.zeros_like(s).at[order].set(slopes[0], unique_indices=True)


def _add(total, term):
    """Compensated (Kahan) addition of `term` to total = (sum, what rounding lost)."""
    value, lost = total
    term = term - lost
    new = value + term
    return new, (new - value) - term
