"""Several labels at once: one AUC loss for each column, in one program."""

import jax
import jax.numpy as jnp
from jax import lax

from mammojax.losses.inputs import check_labels, numbers
from mammojax.losses.pairwise import pairwise_auc_loss


def auc_losses(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
    **options,
) -> jax.Array:
    """float[k]: the loss of `pairwise_auc_loss` for each of k labels, 0 for a label of which a class is missing.

    scores: float[n, k]. labels: int[n, k] in {0, 1}; for classes, one against the rest: jax.nn.one_hot(classes, k).
    where: bool[n, k], False for a label that is missing. weights: float[n, k]. options: of `pairwise_auc_loss`, among
    them surrogate and implementation.

    Few large groups are several labels of one score: the columns repeat scores and labels, and where[:, g] marks the
    members of group g.
    """
    scores, labels = jnp.asarray(scores), jnp.asarray(labels)
    for name, array in (("labels", labels), ("where", where), ("weights", weights)):
        if array is not None and (scores.ndim != 2 or jnp.shape(array) != scores.shape):
            raise ValueError(
                f"scores and {name} must be of one shape [n, k], got {scores.shape} and {jnp.shape(array)}; "
                "pass one label for each sample and score"
            )
    check_labels(labels, where)

    def one(scores, labels, where, weights):
        return pairwise_auc_loss(scores, labels, where=where, weights=weights, **options)

    columns = scores, labels, where, weights
    if not (options.get("axis_name") or options.get("sharding") or _is_typed(scores)):
        return jax.vmap(one, in_axes=1)(*columns)
    # one after the other: inside shard_map JAX does not batch a cond whose branches hold constants
    columns = jax.tree.map(lambda x: jnp.moveaxis(jnp.asarray(x), 1, 0), columns)
    return lax.map(lambda column: one(*column), columns)


def _is_typed(scores):
    """Whether the scores are split along axes of type Explicit, of which each loss makes a shard_map of its own."""
    return any(axis is not None for axis in jax.typeof(scores).sharding.spec)


def multilabel_auc_loss(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
    label_weights: jax.Array | None = None,
    **options,
) -> jax.Array:
    """The mean of `auc_losses` over the labels that have both classes: a scalar, 0 where none has.

    label_weights: float[k], at least zero; the mean is weighted. Other arguments and errors: as in `auc_losses`.
    """
    losses = auc_losses(scores, labels, where=where, weights=weights, **options)
    counted = jnp.ones(jnp.shape(scores), bool) if where is None else jnp.asarray(where).astype(bool)
    if weights is not None:
        counted &= jnp.asarray(weights) > 0
    labels = numbers(labels)
    both = jnp.stack([jnp.any(counted & (labels == c), axis=0) for c in (0, 1)]).astype(losses.dtype)
    if options.get("axis_name") is not None:  # of any device
        both = lax.pmax(both, options["axis_name"])
    share = both[0] * both[1]
    if label_weights is not None:
        share *= jnp.asarray(label_weights).astype(losses.dtype)
    total = jnp.sum(share)
    # a loss that is NaN is not hidden by a share of zero
    return jnp.sum(share * losses) / jnp.where(total > 0, total, 1)
