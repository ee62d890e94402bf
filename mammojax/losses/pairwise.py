"""The front door of the pairwise AUC losses: checks, masks, weights, and the choice of implementation."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.losses import fast, materialized, platforms, tiled
from mammojax.losses.groups import within_groups
from mammojax.losses.inputs import constant, is_known, nan_where, relative, scored
from mammojax.losses.pair_sum import pair_sum
from mammojax.losses.partial import hardest
from mammojax.losses.sharded import place_of, spread
from mammojax.losses.surrogates import SURROGATES, Cells, Crossover
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
    groups: jax.Array | None = None,
    exclude: jax.Array | None = None,
    axis_name: str | None = None,
    sharding: jax.sharding.NamedSharding | None = None,
) -> jax.Array:
    r"""The surrogate of 1 - AUC over all pairs of a positive and a negative sample: a scalar, 0 when a class
    is missing.

    With positives :math:`p_i` and negatives :math:`n_j`, sample weights w, and the surrogate l of
    `surrogates.py`,

    .. math:: L = \frac{\sum_{ij} w_i w_j \, l((n_j - p_i + m) / t)}{\sum_i w_i \sum_j w_j}

    Eqs. (2) and (4) of Sulam et al. 2017 without the regulariser. Differentiable in `scores`, twice, under jit, vmap
    and shard_map (by `materialized` to any order). What cannot be computed makes the loss and its gradient NaN: a score that
    is NaN or infinite, a weight that is negative or not finite, a traced label that is neither 0 nor 1, unless it is masked.
    An empty batch is 0.

    scores: float[n], logits: larger is more suspicious. Half precision is computed in float32.
    labels: int[n] in {0, 1}; booleans and floats are taken too. What is masked may hold anything.
    where: bool[n], False for samples that do not exist (padding). They enter neither value nor gradient.
    weights: float[n], at least zero; a pair weighs the product of its two. They are constants: no gradient.
    surrogate: logistic, squared_hinge, hinge, square, sigmoid (`surrogates.SURROGATES`).
    implementation: materialized (the specification, O(P N) memory), tiled (every pair, O(P + N) memory), fast (linear
    time to float32 accuracy for logistic and sigmoid; exact for the others, hinges in O(N log N)), or auto (see
    `choose_implementation`).
    reduction: mean over pairs, or sum.
    margin, temperature: m and t above, Python floats.
    max_fpr, min_tpr: partial AUC. Only the highest `max_fpr` of the negatives and the lowest 1 - `min_tpr` of the
    positives count (`partial.py`), Python floats.
    groups: int[n]. Only pairs of one group count: one scanner, one site, one query. exclude: int[n]. Pairs of equal ids do
    not count, such as those of one patient: the sum of all pairs less those, so an element of the gradient to which its own
    group gives nearly all has fewer right digits. Both take O(N log N + N x largest group) for any surrogate
    (`groups.py`; for few large groups see `auc_losses`), one derivative, and one device.
    axis_name: of `jax.shard_map`: the pairs are those of all devices along this axis, and so is the loss; the gradient
    is that of the device's own scores. Differentiate under its default check_vma=True; without it, and under pmap, a
    gradient is refused.
    sharding: of scores that lie on several devices, outside of shard_map, under jit on a mesh with axes of type Auto. Where
    the axes are Explicit, and outside of jit, it is known without (`sharded.py`). Either way what axis_name moves is moved.

    Raises ValueError if shapes differ or are not one-dimensional, for labels outside {0, 1} (where they are not
    traced), for a name that is not known, and for implementation="fast" of a surrogate without a fast form.

    >>> scores = jnp.array([2.0, -1.0, 0.5])
    >>> labels = jnp.array([1, 0, 0])
    >>> print(f"{pairwise_auc_loss(scores, labels):.4f}")
    0.1250
    """
    if groups is not None or exclude is not None:
        if axis_name is not None or sharding is not None:
            raise ValueError("groups and exclude see one device; leave out axis_name and sharding")
        groups, exclude = (_ids(x, jnp.shape(scores)) for x in (groups, exclude))
    elif axis_name is None and (place := place_of(jnp.asarray(scores), sharding)) is not None:
        options = {"surrogate": surrogate, "implementation": implementation, "reduction": reduction, "margin": margin,
                   "temperature": temperature, "max_fpr": max_fpr, "min_tpr": min_tpr}  # fmt: skip
        return spread(pairwise_auc_loss, place, scores, labels, where, weights, **options)
    scores, positive, negative, sound = scored(scores, labels, where, weights, axis_name)
    if reduction not in ("mean", "sum"):
        raise ValueError(f"unknown reduction {reduction!r}; choose mean or sum")
    if scores.shape[0] == 0:
        return jnp.zeros((), scores.dtype)
    max_fpr, min_tpr = constant("max_fpr", max_fpr), constant("min_tpr", min_tpr)
    (positive, largest_p), (negative, largest_n) = (relative(w, axis_name) for w in (positive, negative))
    if max_fpr != 1 or min_tpr != 0:
        # checked before any is left out: a NaN has no place in an order
        sound *= nan_where(~jnp.isfinite(scores) & (positive + negative > 0), scores.dtype, axis_name)
        positive, negative = hardest(
            scores, positive, negative, max_fpr=max_fpr, min_tpr=min_tpr, axis_name=axis_name
        )
    options = {"surrogate": surrogate, "margin": margin, "temperature": temperature}
    if groups is None:
        total = pairwise_sum(
            scores, positive, negative, implementation=implementation, axis_name=axis_name, **options
        )
        positives, negatives = _along(axis_name, (jnp.sum(positive), jnp.sum(negative)), lax.psum)
        pairs = positives * negatives
    else:
        total, pairs = _within(scores, positive, negative, groups, **options)
    if exclude is not None:
        left_out = exclude if groups is None else _both(groups, exclude)
        less, fewer = _within(scores, positive, negative, left_out, **options)
        # what rounding leaves where every pair is excluded
        some = pairs - fewer > 1e-6 * pairs
        total, pairs = jnp.where(some, total - less, 0), jnp.where(some, pairs - fewer, 0)
    total *= sound
    if reduction == "sum":
        return total * largest_p * largest_n
    return total / jnp.where(pairs > 0, pairs, 1)


def _ids(ids, shape):
    """Ids as an array; those that JAX would cut to 32 bits, and so make equal, by their rank. None stays None."""
    if ids is None:
        return None
    if np.shape(ids) != shape:
        raise ValueError(
            f"scores and group ids differ in shape: {shape} and {np.shape(ids)}; pass one per score"
        )
    if is_known(ids) and np.asarray(ids).dtype != jax.dtypes.canonicalize_dtype(np.asarray(ids).dtype):
        ids = np.unique(ids, return_inverse=True, equal_nan=False)[1]
    return jnp.asarray(ids)


def _within(scores, positive, negative, ids, *, surrogate, margin, temperature):
    """Value and number of the pairs of equal ids; NaN for scores that are none."""
    counted = positive + negative > 0
    finite = nan_where(~jnp.isfinite(scores) & counted, scores.dtype)
    total, pairs = within_groups(
        jnp.where(jnp.isfinite(scores), scores, 0),
        positive,
        negative,
        ids,
        make_surrogate(surrogate, margin=margin, temperature=temperature),
    )
    return total * finite, pairs


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
    pair = make_surrogate(surrogate, margin=margin, temperature=temperature)
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
    if implementation == "fast" and pair.fast is None:
        raise ValueError(f'{surrogate!r} has no form for implementation="fast"; choose tiled or auto')
    if scores.shape[0] == 0:
        return jnp.zeros((), scores.dtype)
    weights = positive_weights - negative_weights
    finite = nan_where(~jnp.isfinite(scores) & (weights != 0), scores.dtype, axis_name)
    # no constant: XLA would compute what follows from constant labels while it compiles, for minutes
    weights = lax.optimization_barrier(jnp.where(jnp.isfinite(scores), weights, 0))
    if implementation == "materialized":
        total = materialized.pair_sum(scores, weights, pair)
    else:
        total = pair_sum(scores, weights, pair, tiled if implementation == "tiled" else fast, axis_name)
    # a factor, so that the gradient becomes NaN too
    return total * finite


def choose_implementation(size: int, surrogate: str = "logistic") -> tuple[str, str]:
    """The implementation that `auto` takes for `size` scores on this platform, and why.

    >>> choose_implementation(100)[0], choose_implementation(100_000)[0]
    ('tiled', 'fast')
    """
    make_surrogate(surrogate)
    form, crossover = SURROGATES[surrogate].fast, SURROGATES[surrogate].crossover
    if form is None:
        return "tiled", f"{surrogate} has no fast form"
    if isinstance(crossover, Crossover):
        crossover = getattr(crossover, platforms.name())
    if size >= crossover:
        return "fast", f"{size} scores: from {crossover} on, linear time wins"
    return "tiled", f"{size} scores: below {crossover}, every pair is as quick"


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
    pair = make_surrogate(surrogate, margin=margin, temperature=temperature)
    if not isinstance(pair.fast, Cells):
        raise ValueError(f"{surrogate!r} has one way under fast; ask for logistic or sigmoid")
    scores, positive, negative, _ = scored(scores, labels, where, weights, axis_name)
    if scores.shape[0] == 0:
        return jnp.int32(0)
    weights = jnp.where(jnp.isfinite(scores), positive - negative, 0)
    return fast.path(lax.stop_gradient(scores), weights, pair, axis_name)


def _both(groups, exclude):
    """int32[n]: ids that are equal where both are."""
    a, b, order = lax.sort((groups, exclude, jnp.arange(groups.shape[0], dtype=jnp.int32)), num_keys=2)
    new = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    number = jnp.cumsum(jnp.concatenate([jnp.zeros(1, bool), new]), dtype=jnp.int32)
    return jnp.zeros(groups.shape, jnp.int32).at[order].set(number, unique_indices=True)


def _along(axis_name, x, collective):
    return x if axis_name is None else collective(x, axis_name)
