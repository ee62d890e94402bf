"""The specification: every pair in one matrix, differentiated by JAX.

O(N^2) time and memory: for tests and for small batches.
"""

import jax
import jax.numpy as jnp

from mammojax.losses.surrogates import Surrogate


def pair_sum(scores: jax.Array, weights: jax.Array, surrogate: Surrogate) -> jax.Array:
    """Sum over all pairs of a positive i and a negative j of |weights[i] weights[j]| * l(scores[j] - scores[i]).

    scores: float[n]. weights: float[n], above zero for positives, below for negatives, zero for samples that do
    not count.
    """
    pair_weights = jnp.maximum(weights, 0)[:, None] * jnp.maximum(-weights, 0)[None, :]
    differences = scores[None, :] - scores[:, None]
    # the double where: what lies outside the sum must not reach the surrogate's derivative either
    costs = surrogate.value(jnp.where(pair_weights != 0, differences, 0))
    return jnp.sum(jnp.where(pair_weights != 0, pair_weights * costs, 0))
