"""The exact area under the ROC curve on the device (Mann and Whitney 1947), ties counted half."""

import warnings

import jax
import jax.numpy as jnp
from jax import lax

from mammojax.losses.pairwise import class_weights


def auc(
    scores: jax.Array, labels: jax.Array, where: jax.Array | None = None, weights: jax.Array | None = None
) -> jax.Array:
    """The share of pairs in which the positive scores higher, ties counted half: a scalar, eq. (1) of Sulam
    et al. 2017.

    NaN when a class is missing or a score is NaN; outside jit a warning then says which. scores, labels,
    where, weights, errors: as in `pairwise_auc_loss`. One sort: O(N log N).

    >>> print(auc(jnp.array([0.1, 0.4, 0.4, 0.8]), jnp.array([0, 0, 1, 1])))
    0.875
    """
    scores, positive, negative = class_weights(scores, labels, where, weights)
    scores, positive, negative = lax.sort(
        (scores, lax.stop_gradient(positive), lax.stop_gradient(negative)), num_keys=1
    )
    below = jnp.cumsum(negative)
    first = jnp.concatenate([jnp.ones(1, bool), scores[1:] != scores[:-1]])  # the first of a run of ties
    last = jnp.concatenate([first[1:], jnp.ones(1, bool)])
    before = lax.cummax(jnp.where(first, below - negative, -1.0))  # negatives below the run
    through = lax.cummin(jnp.where(last, below, jnp.inf), reverse=True)  # and those not above it
    wins = jnp.sum(positive * (before + through) / 2)
    area = wins / (jnp.sum(positive) * jnp.sum(negative))
    area = jnp.where(jnp.any(jnp.isnan(scores)), jnp.nan, area)
    if not isinstance(area, jax.core.Tracer) and jnp.isnan(area):
        _warn(scores, positive, negative)
    return area


def _warn(scores, positive, negative):
    if jnp.any(jnp.isnan(scores)):
        reason = "a score is NaN"
    else:
        missing = [
            name
            for name, weight in (("positive", positive), ("negative", negative))
            if not jnp.any(weight > 0)
        ]
        reason = f"there is no {' and no '.join(missing)} sample"
    warnings.warn(f"the AUC is undefined (NaN): {reason}", stacklevel=3)
