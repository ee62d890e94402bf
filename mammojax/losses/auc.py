"""The exact area under the ROC curve on the device (Mann and Whitney 1947), ties counted half."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.losses import ring
from mammojax.losses.inputs import relative, scored


def auc(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    """The share of pairs in which the positive scores higher, ties counted half: a scalar, eq. (1) of Sulam
    et al. 2017.

    NaN when a class is missing, a score is NaN, or a label or weight is none; outside jit a warning then says which.
    scores, labels, where, weights, axis_name, errors: as in `pairwise_auc_loss`, but infinite scores have a place. One sort: O(N log N); across devices one for each, while
    the negatives travel around the ring (`ring.py`).

    >>> print(auc(jnp.array([0.1, 0.4, 0.4, 0.8]), jnp.array([0, 0, 1, 1])))
    0.875
    """
    scores, positive, negative, sound = scored(scores, labels, where, weights, axis_name)
    scores = lax.stop_gradient(scores)
    positive, negative = (relative(w, axis_name)[0] for w in (positive, negative))
    signed = positive - negative
    totals = jnp.sum(positive), jnp.sum(negative)
    broken = jnp.any(jnp.isnan(scores) & (signed != 0))
    if scores.shape[0] == 0:
        wins = totals[0]
    elif axis_name is None:
        wins = _wins(scores, signed)
    else:
        wins = ring.value_and_gradient(lambda s, w: (_wins(s, w), 0 * w), scores, signed, axis_name)[0]
        totals, broken = lax.psum(totals, axis_name), lax.pmax(broken, axis_name)
    area = sound * jnp.where(broken, jnp.nan, wins / (totals[0] * totals[1]))
    if not isinstance(area, jax.core.Tracer) and jnp.isnan(area):
        _warn(scores, positive, negative, sound)
    return area


def _wins(scores, signed):
    """float[]: the weight of the pairs whose positive scores higher, and half of that of ties."""
    with jax.enable_x64(True):  # counts of 10^14 pairs
        wide = lax.convert_element_type(signed, np.float64)
        keys, wide = lax.sort((scores, wide), num_keys=1)
        negative = jnp.maximum(-wide, 0)
        below = jnp.cumsum(negative)
        first = jnp.concatenate([jnp.ones(1, bool), keys[1:] != keys[:-1]])  # the first of a run of ties
        last = jnp.concatenate([first[1:], jnp.ones(1, bool)])
        before = lax.cummax(jnp.where(first, below - negative, -1.0))  # negatives below the run
        through = lax.cummin(jnp.where(last, below, jnp.inf), reverse=True)  # and those not above it
        wins = jnp.sum(jnp.maximum(wide, 0) * (before + through) / 2)
        return lax.convert_element_type(wins, signed.dtype)


def _warn(scores, positive, negative, sound):
    if jnp.isnan(sound):
        reason = "a label is neither 0 nor 1, or a weight is negative or not finite"
    elif jnp.any(jnp.isnan(scores)):
        reason = "a score is NaN"
    else:
        missing = [
            name
            for name, weight in (("positive", positive), ("negative", negative))
            if not jnp.any(weight > 0)
        ]
        reason = f"there is no {' and no '.join(missing)} sample"
    warnings.warn(f"the AUC is undefined (NaN): {reason}", stacklevel=3)
