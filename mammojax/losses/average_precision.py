"""A smooth surrogate of the average precision (Brown et al. 2020, "Smooth-AP", ECCV, eq. 7)."""

import jax
import jax.numpy as jnp
import numpy as np

from mammojax.losses.inputs import nan_where, scored
from mammojax.losses.surrogates import surrogate


def average_precision_loss(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
    temperature: float = 0.1,
) -> jax.Array:
    r"""One minus a smooth average precision: a scalar, 0 when there is no positive.

    The precision at a positive i is its rank among the positives over its rank among all. Ranks count who scores higher,
    and the step of a count becomes :math:`\sigma_{ij} = \sigma((s_j - s_i) / t)`:

    .. math:: L = 1 - \frac{1}{\sum_i w_i} \sum_{i \in P} w_i \, \frac{w_i + \sum_{j \in P, j \ne i} w_j \sigma_{ij}}
        {w_i + \sum_{j \in P, j \ne i} w_j \sigma_{ij} + \sum_{j \in N} w_j \sigma_{ij}}

    With t towards zero it is one minus the average precision, where no scores tie.
    temperature: t; the larger it is, the more pairs carry gradient. Other arguments and errors: as in
    `pairwise_auc_loss`. Every pair in one matrix: O(n^2) time and memory, for batches.
    """
    scores, positive, negative, sound = scored(scores, labels, where, weights)
    counted = (positive + negative) > 0
    sound *= nan_where(~jnp.isfinite(scores) & counted, scores.dtype)
    scores = jnp.where(jnp.isfinite(scores), scores, 0)
    ahead = surrogate("sigmoid", temperature=temperature).value(scores[None, :] - scores[:, None])
    own = np.eye(scores.shape[0], dtype=bool)
    above_p = positive + jnp.sum(jnp.where(own, 0, positive[None, :] * ahead), axis=1)
    above_n = jnp.sum(negative[None, :] * ahead, axis=1)
    exists = positive > 0
    precision = jnp.where(exists, above_p / jnp.where(exists, above_p + above_n, 1), 0)
    total = jnp.sum(positive)
    loss = 1 - jnp.sum(positive * precision) / jnp.where(total > 0, total, 1)
    return sound * jnp.where(total > 0, loss, 0)
