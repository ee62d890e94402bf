"""The min-max margin loss, AUCM: the square surrogate as a saddle, for batches that hold few pairs or none.

The expected square loss over pairs, E (m + n - p)^2, is

    min over a, b  of  E (p - a)^2 + E (n - b)^2  +  max over alpha of  2 alpha (m + E n - E p) - alpha^2

with a and b at the mean scores of the classes and alpha at m + b - a (Ying et al. 2016). With alpha >= 0 the last term
is the squared hinge of the distance of the means: pairs that are right by more than the margin cost nothing (Yuan et
al. 2021). No term has pairs in it, so the sum over small batches is the loss of the whole set.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from mammojax.losses.inputs import is_known, nan_where, scored


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AUCMVariables:
    """a, b: float[], the centres of positive and negative scores. alpha: float[], at least zero. A pytree."""

    a: jax.Array
    b: jax.Array
    alpha: jax.Array

    @classmethod
    def init(cls) -> "AUCMVariables":
        """All zero, float32."""
        return cls(*(jnp.zeros((), jnp.float32) for _ in range(3)))


def aucm_saddle(
    scores: jax.Array,
    labels: jax.Array,
    *,
    margin: float = 1.0,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
) -> AUCMVariables:
    """The variables at which `aucm_loss` of these scores has its saddle: the class means, and max(0, m + b - a).

    Constants, without gradient: by the envelope theorem the gradient of `aucm_loss` at them is that of the loss whose
    minimum over a, b and maximum over alpha is taken. Zero for a class that is missing. Arguments: as in `aucm_loss`.
    """
    scores, positive, negative, _ = scored(lax.stop_gradient(scores), labels, where, weights)
    a, b = (
        jnp.sum(jnp.where(w > 0, w * scores, 0)) / jnp.where(jnp.any(w > 0), jnp.sum(w), 1)
        for w in (positive, negative)
    )
    return AUCMVariables(a, b, jnp.maximum(margin + b - a, 0))


def aucm_loss(
    scores: jax.Array,
    labels: jax.Array,
    variables: AUCMVariables,
    *,
    margin: float = 1.0,
    positive_share: float | jax.Array | None = None,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
) -> jax.Array:
    """The saddle function at `variables`: a scalar, to be descended in scores, a and b and ascended in alpha.

    scores: float[n]. labels, where, weights, errors: as in `pairwise_auc_loss`. margin: m above.
    positive_share: of the training set, in (0, 1), a number or traced. Then a class's mean is its sum over share * n: the mean of the loss
    over batches is the loss of the set, and a batch of one class adds what it knows. None: the batch's own means, and a
    batch of one class is 0 with gradient 0.

    Raises ValueError for a share outside (0, 1); where it is traced the loss is NaN.
    """
    scores, positive, negative, sound = scored(scores, labels, where, weights)
    total_p, total_n = jnp.sum(positive), jnp.sum(negative)
    if positive_share is None:
        defined = (total_p > 0) & (total_n > 0)
    elif is_known(positive_share) and not 0 < positive_share < 1:
        raise ValueError(
            f"positive_share must lie between 0 and 1, got {positive_share}; count the training labels"
        )
    else:
        positive_share = jnp.asarray(positive_share, scores.dtype)
        sound *= nan_where(~((positive_share > 0) & (positive_share < 1)), scores.dtype)
        total = total_p + total_n
        total_p, total_n, defined = positive_share * total, (1 - positive_share) * total, total > 0
    positive = positive / jnp.where(defined, total_p, 1)
    negative = negative / jnp.where(defined, total_n, 1)
    spread = jnp.sum(
        positive * jnp.square(scores - variables.a) + negative * jnp.square(scores - variables.b)
    )
    distance = margin + jnp.sum((negative - positive) * scores)
    value = spread + 2 * variables.alpha * distance - jnp.square(variables.alpha)
    return jnp.where(defined, value, 0) * sound


def aucm_optimizer(model, *, learning_rate: float):
    """An optax transformation for parameters {"model": ..., "aucm": AUCMVariables} and their plain gradients.

    model: the transformation of the model's parameters, any of optax. learning_rate: of a, b and alpha. a and b
    descend; alpha ascends, and never below zero. Give `params` to its update.
    """
    import optax

    def parts(params):
        return {
            "model": jax.tree.map(lambda _: "model", params["model"]),
            "aucm": AUCMVariables("centre", "centre", "alpha"),
        }

    ascent = optax.chain(optax.scale(learning_rate), optax.keep_params_nonnegative())
    return optax.partition({"model": model, "centre": optax.sgd(learning_rate), "alpha": ascent}, parts)
