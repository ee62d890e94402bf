"""Partial AUC in a smooth form: pairs are weighed by how much they cost, instead of being cut by rank.

The mean over the hardest share of the negatives (`partial.py`) is the largest weighted mean of the pair losses whose
weights are bounded. With a Kullback-Leibler penalty in place of the bound the largest mean is a log-sum-exp, smooth in all
scores (Zhu et al. 2022, "When AUC meets DRO": the estimators of SOPA-s and SOTA-s).
"""

import jax
import jax.numpy as jnp

from mammojax.losses.inputs import constant, nan_where, scored
from mammojax.losses.surrogates import surrogate as make_surrogate


def soft_partial_auc_loss(
    scores: jax.Array,
    labels: jax.Array,
    *,
    softness: float = 1.0,
    positive_softness: float | None = None,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
    surrogate: str = "logistic",
    margin: float = 0.0,
    temperature: float = 1.0,
) -> jax.Array:
    r"""A smooth partial AUC loss over the pairs of a batch: a scalar, 0 when a class is missing.

    With the pair losses :math:`l_{ij}` of positive i and negative j, and E the weighted means over a class,

    .. math:: L_i = \lambda \log E_j \exp(l_{ij} / \lambda), \quad L = E_i L_i \quad \text{or} \quad
        \lambda' \log E_i \exp(L_i / \lambda')

    softness: :math:`\lambda`, above zero: the larger, the nearer to the mean over all negatives (`pairwise_auc_loss`); the
    smaller, the nearer to the hardest negative alone (one-way partial AUC). positive_softness: :math:`\lambda'`, the same
    for the positives (two-way partial AUC); None: their mean.
    Other arguments and errors: as in `pairwise_auc_loss`. Every pair in one matrix: O(n^2) time and memory, for batches.
    """
    softness = _above_zero("softness", softness)
    pair = make_surrogate(surrogate, margin=margin, temperature=temperature)
    scores, positive, negative, sound = scored(scores, labels, where, weights)
    finite = jnp.isfinite(scores)
    sound *= nan_where(~finite & (positive + negative > 0), scores.dtype)
    scores = jnp.where(finite, scores, 0)
    defined = jnp.any(positive > 0) & jnp.any(negative > 0)
    costs = pair.value(scores[None, :] - scores[:, None])
    losses = _soft_mean(costs, negative[None, :], softness)
    if positive_softness is None:
        loss = jnp.sum(positive * losses) / jnp.where(defined, jnp.sum(positive), 1)
    else:
        loss = _soft_mean(losses, positive, _above_zero("positive_softness", positive_softness))
    return jnp.where(defined, loss, 0) * sound


def _soft_mean(values: jax.Array, weights: jax.Array, softness: float) -> jax.Array:
    """float[...]: softness * log of the weighted mean of exp(values / softness) along the last axis; 0 where nothing weighs.

    From the largest value, for a small softness, to the weighted mean, for a large one, and accurate in both: exponentials
    that are all near one are summed by what they are less. weights: float[..., n], at least zero.
    """
    highest = jnp.max(jnp.where(weights > 0, values, -jnp.inf), axis=-1, keepdims=True, initial=-jnp.inf)
    highest = jax.lax.stop_gradient(jnp.where(jnp.isfinite(highest), highest, 0))
    # the double where: what weighs nothing must not overflow in the derivative either
    below = jnp.where(weights > 0, values - highest, 0) / softness
    total = jnp.sum(weights, axis=-1, keepdims=True)
    share = weights / jnp.where(total > 0, total, 1)
    less = jnp.sum(share * jnp.expm1(below), axis=-1)
    near = less > -0.5
    mean = jnp.where(near, 1, jnp.sum(share * jnp.exp(below), axis=-1))
    logarithm = jnp.where(near, jnp.log1p(jnp.where(near, less, 0)), jnp.log(mean))
    return softness * logarithm + highest[..., 0]


def _above_zero(name, value):
    value = constant(name, value)
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0 and finite, got {value}; 1 is a middle way")
    return value
