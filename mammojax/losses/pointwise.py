"""The losses of the other arms: one sample at a time, no pairs."""

import jax
import jax.numpy as jnp

from mammojax.losses.inputs import Scored, scored
from mammojax.losses.surrogates import surrogate


def logistic_loss(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    """The mean cross-entropy of the labels under sigma(scores): a scalar, 0 for an empty batch.

    scores: float[n], logits. labels: int[n] in {0, 1}. where, weights, axis_name, errors: as in `pairwise_auc_loss`;
    the mean is weighted.

    >>> print(f"{logistic_loss(jnp.array([0.0, 2.0]), jnp.array([0, 1])):.4f}")
    0.4100
    """
    return _weighted_mean(scored(scores, labels, where, weights, axis_name), 1.0, 1.0, axis_name)


def class_weighted_logistic_loss(
    scores: jax.Array,
    labels: jax.Array,
    *,
    positives: int,
    negatives: int,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
) -> jax.Array:
    """The cross-entropy in which each class of the training set carries half the weight: a scalar.

    positives, negatives: samples of each class in the training set, both above zero. A positive sample weighs
    (positives + negatives) / (2 positives), a negative one likewise; the sum is divided by the batch's plain
    weight, so the mean over the batches of an epoch is (mean over positives + mean over negatives) / 2 of the
    training set. Other arguments and errors: as in `logistic_loss`.
    """
    if not positives > 0 or not negatives > 0:
        raise ValueError(
            f"both classes must be in the training set, got positives={positives} and negatives={negatives}; "
            "use logistic_loss, or check the labels"
        )
    half = (positives + negatives) / 2
    return _weighted_mean(scored(scores, labels, where, weights), half / positives, half / negatives)


def _weighted_mean(
    batch: Scored, positive_factor: float, negative_factor: float, axis_name: str | None = None
) -> jax.Array:
    cost = surrogate("logistic").value
    of_positives = positive_factor * batch.positive * cost(-batch.scores)
    total = jnp.sum(of_positives + negative_factor * batch.negative * cost(batch.scores))
    weight = jnp.sum(batch.positive) + jnp.sum(batch.negative)
    if axis_name is not None:
        total, weight = jax.lax.psum((total, weight), axis_name)
    return batch.sound * total / jnp.where(weight > 0, weight, 1)
