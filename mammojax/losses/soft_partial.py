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


def _soft_mean(costs, weights, softness):
    """softness * log of the weighted mean of exp(costs / softness) along the last axis; 0 where nothing weighs."""
    highest = jnp.max(jnp.where(weights > 0, costs, -jnp.inf), axis=-1, keepdims=True, initial=-jnp.inf)
    highest = jax.lax.stop_gradient(jnp.where(jnp.isfinite(highest), highest, 0))
    # the double where: what weighs nothing must not overflow in the derivative either
    below = jnp.where(weights > 0, costs - highest, 0) / softness
    total = jnp.sum(weights * jnp.exp(below), axis=-1)
    some = total > 0
    mean = jnp.where(some, total, 1) / jnp.where(some, jnp.sum(weights, axis=-1), 1)
    return jnp.where(some, softness * jnp.log(mean) + highest[..., 0], 0)


def _above_zero(name, value):
    value = constant(name, value)
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0 and finite, got {value}; 1 is a middle way")
    return value
