"""Partial AUC: which samples count, when only the hardest ones do.

The area under the ROC curve left of a false positive rate `max_fpr` is that over the top `max_fpr` of the negatives;
above a true positive rate `min_tpr` it is that over the lowest 1 - `min_tpr` of the positives (Narasimhan and Agarwal
2013; Zhu et al. 2022). So the partial loss is the loss with other weights.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.losses import platforms, wide
from mammojax.losses.inputs import constant
from mammojax.losses.running import runs


def hardest(
    scores: jax.Array,
    positive_weights: jax.Array,
    negative_weights: jax.Array,
    *,
    max_fpr: float = 1.0,
    min_tpr: float = 0.0,
    axis_name: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """(positive, negative) weights, float[n] each, of which max_fpr and 1 - min_tpr of the sums are left.

    The highest negatives and the lowest positives stay. Samples that tie with the last of them share what is left of
    the wanted weight, so the sums are exact and equal scores are treated alike. No gradient flows through the choice.
    axis_name: of `jax.shard_map`; the scores of all devices are gathered, O(N) bytes.

    Raises ValueError unless 0 < max_fpr <= 1 and 0 <= min_tpr < 1.
    """
    max_fpr, min_tpr = constant("max_fpr", max_fpr), constant("min_tpr", min_tpr)
    if not 0 < max_fpr <= 1:
        raise ValueError(f"max_fpr must be above 0 and at most 1, got {max_fpr}; 1 takes all negatives")
    if not 0 <= min_tpr < 1:
        raise ValueError(f"min_tpr must be at least 0 and below 1, got {min_tpr}; 0 takes all positives")
    scores = lax.stop_gradient(scores)
    if scores.shape[0] == 0:
        return positive_weights, negative_weights
    if min_tpr > 0:
        positive_weights = _lowest(scores, positive_weights, 1 - min_tpr, axis_name)
    if max_fpr < 1:
        negative_weights = _lowest(-scores, negative_weights, max_fpr, axis_name)
    return positive_weights, negative_weights


def _lowest(scores, weights, share, axis_name):
    upper = np.float32(share)
    # traced, so that one program serves every share; in two, since float64 would not pass
    share = upper, np.float32(share - float(upper))
    kept = functools.partial(_kept, share=share, platform=platforms.name())
    if axis_name is None:
        return kept(scores, weights)
    size = scores.shape[0]
    everyone = (lax.all_gather(x, axis_name, tiled=True) for x in (scores, weights))
    return lax.dynamic_slice_in_dim(kept(*everyone), lax.axis_index(axis_name) * size, size)


@functools.partial(jax.jit, static_argnames="platform")
def _kept(scores, weights, *, share, platform):
    """float[n]: of the weights that of the lowest scores, the share of their sum; share: the sum of two float32."""
    index = np.arange(scores.shape[0], dtype=np.int32)
    # what does not count goes last, whatever it holds
    keys = jnp.where(weights > 0, scores, jnp.inf)
    keys, in_order, order = lax.sort((keys, weights, index), num_keys=1)
    with wide.context():  # the weight of a million samples is compared with a share of it
        in_order = wide.widen(in_order)
        before, run = runs(keys, in_order)
        upper, lower = (wide.widen(jnp.asarray(part)) for part in share)
        left = wide.narrow((upper + lower) * wide.total(in_order) - before, weights.dtype)
        run = wide.narrow(run, weights.dtype)
    kept = jnp.clip(left / jnp.where(run > 0, run, 1), 0, 1)
    return weights * jnp.zeros_like(kept).at[order].set(kept, unique_indices=True)
