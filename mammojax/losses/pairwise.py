"""The front door of the pairwise AUC losses: checks, masks, weights, and the choice of implementation."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.losses import fast, materialized, tiled
from mammojax.losses.pair_sum import pair_sum
from mammojax.losses.partial import hardest
from mammojax.losses.surrogates import surrogate as make_surrogate

IMPLEMENTATIONS = ("materialized", "tiled", "fast")


def pairwise_auc_loss(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
    surrogate: str = "logistic",
    implementation: str = "auto",
    reduction: str = "mean",
    margin: float = 0.0,
    temperature: float = 1.0,
    max_fpr: float = 1.0,
    min_tpr: float = 0.0,
    axis_name: str | None = None,
) -> jax.Array:
    r"""The surrogate of 1 - AUC over all pairs of a positive and a negative sample: a scalar, 0 when a class
    is missing.

    With positives :math:`p_i` and negatives :math:`n_j`, sample weights w, and the surrogate l of
    `surrogates.py`,

    .. math:: L = \frac{\sum_{ij} w_i w_j \, l((n_j - p_i + m) / t)}{\sum_i w_i \sum_j w_j}

    Eqs. (2) and (4) of Sulam et al. 2017 without the regulariser. Differentiable in `scores`, twice, under jit, vmap
    and shard_map (by `materialized` to any order). A score that is NaN or infinite makes the loss and its gradient NaN, unless
    it is masked.

    scores: float[n], logits: larger is more suspicious. Half precision is computed in float32.
    labels: int[n] in {0, 1}; booleans and floats are taken too. What is masked may hold anything.
    where: bool[n], False for samples that do not exist (padding). They enter neither value nor gradient.
    weights: float[n], at least zero; a pair weighs the product of its two. They are constants: no gradient.
    surrogate: logistic, squared_hinge, hinge, square, sigmoid.
    implementation: materialized (the specification, O(P N) memory), tiled (every pair, O(P + N) memory), fast (linear
    time to float32 accuracy for logistic and sigmoid; exact for the others, hinges in O(N log N)), or auto (see
    `choose_implementation`).
    reduction: mean over pairs, or sum.
    margin, temperature: m and t above, Python floats.
    max_fpr, min_tpr: partial AUC. Only the highest `max_fpr` of the negatives and the lowest 1 - `min_tpr` of the
    positives count (`partial.py`), Python floats.
    axis_name: of `jax.shard_map`: the pairs are those of all devices along this axis, and so is the loss; the gradient
    is that of the device's own scores. Differentiate outside of shard_map, or inside with its default check_vma=True.

    Raises ValueError if shapes differ or are not one-dimensional, for labels outside {0, 1} (where they are not
    traced), and for a name that is not known.

    >>> scores = jnp.array([2.0, -1.0, 0.5])
    >>> labels = jnp.array([1, 0, 0])
    >>> print(f"{pairwise_auc_loss(scores, labels):.4f}")
    0.1250
    """
    scores, positive, negative = class_weights(scores, labels, where, weights)
    if reduction not in ("mean", "sum"):
        raise ValueError(f"unknown reduction {reduction!r}; choose mean or sum")
    positive, negative = hardest(
        scores, positive, negative, max_fpr=max_fpr, min_tpr=min_tpr, axis_name=axis_name
    )
    total = pairwise_sum(
        scores,
        positive,
        negative,
        surrogate=surrogate,
        implementation=implementation,
        margin=margin,
        temperature=temperature,
        axis_name=axis_name,
    )
    if reduction == "sum":
        return total
    positives, negatives = _along(axis_name, (jnp.sum(positive), jnp.sum(negative)), lax.psum)
    pairs = positives * negatives
    return total / jnp.where(pairs > 0, pairs, 1)


def pairwise_sum(
    scores: jax.Array,
    positive_weights: jax.Array,
    negative_weights: jax.Array,
    *,
    surrogate: str = "logistic",
    implementation: str = "auto",
    margin: float = 0.0,
    temperature: float = 1.0,
    axis_name: str | None = None,
) -> jax.Array:
    """Sum over all (i, j) of positive_weights[i] * negative_weights[j] * l(scores[j] - scores[i]), by any
    implementation.

    What `pairwise_auc_loss` is made of, for losses whose two sides are not the two classes of one batch.
    scores: float[n]. positive_weights, negative_weights: float[n], at least zero, constants. Other arguments,
    non-finite scores, errors: as there.
    """
    if implementation == "auto":
        devices = 1 if axis_name is None else lax.axis_size(axis_name)
        implementation = choose_implementation(scores.shape[0] * devices, surrogate)[0]
    if implementation == "materialized" and axis_name is not None:
        raise ValueError(
            'implementation="materialized" sees one device and axis_name was given; choose tiled, fast or auto'
        )
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f"unknown implementation {implementation!r}; choose auto, {', '.join(IMPLEMENTATIONS)}"
        )
    pair = make_surrogate(surrogate, margin=margin, temperature=temperature)
    weights = positive_weights - negative_weights
    counted = weights != 0
    finite = _along(axis_name, jnp.all(jnp.isfinite(scores) | ~counted), lax.pmin)
    # no constant: XLA would compute what follows from constant labels while it compiles, for minutes
    weights = lax.optimization_barrier(jnp.where(jnp.isfinite(scores), weights, 0))
    if implementation == "materialized":
        total = materialized.pair_sum(scores, weights, pair)
    else:
        total = pair_sum(scores, weights, pair, tiled if implementation == "tiled" else fast, axis_name)
    # a factor, so that the gradient becomes NaN too
    return total * jnp.where(finite, 1, jnp.nan).astype(total.dtype)


def choose_implementation(size: int, surrogate: str = "logistic") -> tuple[str, str]:
    """The implementation that `auto` takes for `size` scores, and why.

    >>> choose_implementation(100)[0], choose_implementation(100_000)[0]
    ('tiled', 'fast')
    """
    make_surrogate(surrogate)
    crossover = _CROSSOVER[surrogate]
    if size >= crossover:
        return "fast", f"{size} scores: from {crossover} on, linear time wins"
    return "tiled", f"{size} scores: below {crossover}, every pair is as quick"


# scores from which `fast` takes less time than `tiled`: python -m launch.benchmark_loss --part=crossover
_CROSSOVER = {"logistic": 500, "sigmoid": 300, "hinge": 10_000, "squared_hinge": 10_000, "square": 100}


def fast_path(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
    surrogate: str = "logistic",
    margin: float = 0.0,
    temperature: float = 1.0,
    axis_name: str | None = None,
) -> jax.Array:
    """int32[]: the way that `fast` takes for these scores: 0 the plain grid, 1 the compressed one, 2 every pair.

    To count in a training step how often scores do not fit: 2 is right, and slow. Arguments as in
    `pairwise_auc_loss`; logistic and sigmoid, for the other surrogates have one way.
    """
    if surrogate not in ("logistic", "sigmoid"):
        raise ValueError(f"{surrogate!r} has one way under fast; ask for logistic or sigmoid")
    scores, positive, negative = class_weights(scores, labels, where, weights)
    weights = jnp.where(jnp.isfinite(scores), positive - negative, 0)
    pair = make_surrogate(surrogate, margin=margin, temperature=temperature)
    return fast.path(lax.stop_gradient(scores), weights, pair, axis_name)


def class_weights(scores, labels, where, weights):
    """Checked: the scores in float32 or float64, zero where masked; the weights of positives and of negatives."""
    scores, labels = jnp.asarray(scores), jnp.asarray(labels)
    if scores.ndim != 1:
        raise ValueError(
            f"scores must be one-dimensional, got {_shape(scores)}; "
            "flatten them, or jax.vmap over the leading axes"
        )
    for name, array, remedy in (
        ("labels", labels, "pass one label per score"),
        ("where", where, "pass one bool per score"),
        ("weights", weights, "pass one weight per score"),
    ):
        if array is not None and jnp.shape(array) != scores.shape:
            raise ValueError(
                f"scores and {name} differ in shape: {_shape(scores)} and {_shape(jnp.asarray(array))}; "
                f"{remedy}"
            )
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        raise ValueError(
            f"scores must be floating point logits, got {_shape(scores)}; "
            "convert them, or check the order of arguments"
        )
    where = jnp.ones(scores.shape, bool) if where is None else jnp.asarray(where).astype(bool)
    _check_labels(labels, where)
    scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
    scores = jnp.where(where, scores, 0)
    weights = (
        jnp.ones_like(scores)
        if weights is None
        else jax.lax.stop_gradient(jnp.asarray(weights, scores.dtype))
    )
    weights = jnp.where(where, weights, 0)
    zero = jnp.zeros_like(weights)
    return scores, jnp.where(labels == 1, weights, zero), jnp.where(labels == 0, weights, zero)


def _along(axis_name, x, collective):
    return x if axis_name is None else collective(x, axis_name)


def _check_labels(labels, where):
    if isinstance(labels, jax.core.Tracer) or isinstance(where, jax.core.Tracer):
        return
    wrong = np.asarray(where & (labels != 0) & (labels != 1))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"labels must be 0 or 1, got {np.asarray(labels)[at]} at position {at} "
            f"and {int(wrong.sum()) - 1} more like it; "
            "map the classes to 0 and 1, or mask these samples with where="
        )


def _shape(array):
    return f"{array.dtype}[{','.join(map(str, array.shape))}]"
