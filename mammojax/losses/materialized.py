"""The specification: every pair in one matrix, differentiated by JAX.

O(N^2) time and memory: for tests and for small batches.
"""

import jax
import jax.numpy as jnp

from mammojax.losses.surrogates import Surrogate


def pair_sum(
    scores: jax.Array, positive_weights: jax.Array, negative_weights: jax.Array, surrogate: Surrogate
) -> jax.Array:
    """Sum over all pairs (i, j) of positive_weights[i] * negative_weights[j] * surrogate(scores[j] -
    scores[i]).

    scores: float[n]. positive_weights, negative_weights: float[n], zero for samples of the other class and
    masked ones.
    """
    weights = positive_weights[:, None] * negative_weights[None, :]
    differences = scores[None, :] - scores[:, None]
    # the double where: what lies outside the sum must not reach the surrogate's derivative either
    costs = surrogate.value(jnp.where(weights != 0, differences, 0))
    return jnp.sum(jnp.where(weights != 0, weights * costs, 0))
