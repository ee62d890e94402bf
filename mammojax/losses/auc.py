"""The exact area under the ROC curve on the device (Mann and Whitney 1947), ties counted half."""

import functools
import warnings

import jax
import jax.numpy as jnp
from jax import lax

from mammojax.losses import platforms, ring, wide
from mammojax.losses.inputs import constant, relative, scored
from mammojax.losses.running import runs
from mammojax.losses.sharded import place_of, spread


def auc(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
    max_fpr: float = 1.0,
    axis_name: str | None = None,
    sharding: jax.sharding.NamedSharding | None = None,
) -> jax.Array:
    """The share of pairs in which the positive scores higher, ties counted half: a scalar, eq. (1) of Sulam
    et al. 2017.

    max_fpr: below 1, the area left of this false positive rate, between 0.5 for chance and 1, by McClish's correction
    (1989): (1 + (A - f^2 / 2) / (f - f^2 / 2)) / 2, as scikit-learn's `roc_auc_score` has it. The ROC curve is straight
    between its points: of negatives tied at the cut, that share counts which is left of it, against the same share of the
    positives tied with them.

    NaN when a class is missing, a score is NaN, or a label or weight is none; outside jit a warning then says which.
    scores, labels, where, weights, axis_name, sharding, errors: as in `pairwise_auc_loss`, but infinite scores have a
    place. One sort: O(N log N); across devices one for each, while the negatives travel around the ring (`ring.py`); with
    max_fpr all scores are gathered.

    >>> print(auc(jnp.array([0.1, 0.4, 0.4, 0.8]), jnp.array([0, 0, 1, 1])))
    0.875
    """
    max_fpr = constant("max_fpr", max_fpr)
    if not 0 < max_fpr <= 1:
        raise ValueError(f"max_fpr must be above 0 and at most 1, got {max_fpr}; 1 is the whole curve")
    if axis_name is None and (place := place_of(jnp.asarray(scores), sharding)) is not None:
        return spread(auc, place, scores, labels, where, weights, max_fpr=max_fpr)
    scores, positive, negative, sound = scored(scores, labels, where, weights, axis_name)
    scores = lax.stop_gradient(scores)
    positive, negative = (relative(w, axis_name)[0] for w in (positive, negative))
    signed = positive - negative
    totals = jnp.sum(positive), jnp.sum(negative)
    broken = jnp.any(jnp.isnan(scores) & (signed != 0))
    if axis_name is not None:
        totals, broken = lax.psum(totals, axis_name), lax.pmax(broken.astype(jnp.int32), axis_name) > 0
    pairs = totals[0] * totals[1]
    wins = functools.partial(_wins, platform=platforms.name())
    if scores.shape[0] == 0:
        area = pairs / pairs
    elif max_fpr < 1:
        area = _partial_area(
            *_everyone((scores, signed), axis_name), max_fpr=max_fpr, platform=platforms.name()
        )
        area = area if axis_name is None else lax.pmax(area, axis_name)  # equal on all, which this says
    elif axis_name is None:
        area = wins(scores, signed) / pairs
    else:
        area = ring.value_and_gradient(lambda s, w: (wins(s, w), 0 * w), scores, signed, axis_name)[0] / pairs
    area = sound * jnp.where(broken, jnp.nan, area)
    if not isinstance(area, jax.core.Tracer) and jnp.isnan(area):
        _warn(scores, positive, negative, sound)
    return area


def _everyone(arrays, axis_name):
    return arrays if axis_name is None else [lax.all_gather(x, axis_name, tiled=True) for x in arrays]


@functools.partial(jax.jit, static_argnames=("max_fpr", "platform"))
def _partial_area(scores, signed, *, max_fpr, platform):
    """float[]: the corrected area under the ROC curve of all scores, left of max_fpr."""
    # the curve from its left end: the highest scores first; what does not count last
    keys, signed = lax.sort((jnp.where(signed != 0, -scores, jnp.inf), signed), num_keys=1)
    with wide.context():
        positive, negative = (wide.widen(jnp.maximum(w, 0)) for w in (signed, -signed))
        (before_n, run_n), (before_p, run_p) = runs(keys, negative), runs(keys, positive)
        positives, negatives = wide.total(positive), wide.total(negative)
        left, run = (wide.narrow(x, signed.dtype) for x in (max_fpr * negatives - before_n, run_n))
        share = wide.widen(jnp.clip(left / jnp.where(run > 0, run, 1), 0, 1))
        area = wide.total(negative * share * (before_p + 0.5 * share * run_p)) / (positives * negatives)
        least = max_fpr**2 / 2
        return wide.narrow(0.5 + (area - least) / (2 * (max_fpr - least)), signed.dtype)


@functools.partial(jax.jit, static_argnames="platform")
def _wins(scores, signed, *, platform):
    """float[]: the weight of the pairs whose positive scores higher, and half of that of ties; up to 10^14 pairs."""
    keys, signed = lax.sort((scores, signed), num_keys=1)
    with wide.context():
        positive, negative = (wide.widen(jnp.maximum(w, 0)) for w in (signed, -signed))
        before, tied = runs(keys, negative)
        return wide.narrow(wide.total(positive * (before + 0.5 * tied)), signed.dtype)


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
