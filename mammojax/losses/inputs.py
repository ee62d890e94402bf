"""What every loss takes: scores and labels, masks and weights, checked and brought into one form."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class Scored(NamedTuple):
    """scores: float[n], float32 or float64, zero where masked or of weight zero. positive, negative: float[n], what each
    sample weighs in its class, zero in the other one. sound: float[], 1, or NaN where a label or a weight is none: a factor
    of the loss; the scores have it already."""

    scores: jax.Array
    positive: jax.Array
    negative: jax.Array
    sound: jax.Array


def scored(
    scores: jax.Array,
    labels: jax.Array,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
    axis_name: str | None = None,
) -> Scored:
    """The arguments of a loss, as `pairwise_auc_loss` explains them.

    Raises ValueError if shapes differ or are not one-dimensional, for scores that are no floating point numbers, and
    for labels outside {0, 1}. Where labels are traced their values cannot raise: `sound` is NaN then, on all devices of
    axis_name. So it is for a weight that is negative, infinite or NaN. What is masked may hold anything.
    """
    given = labels, where
    scores, labels = jnp.asarray(scores), numbers(labels)
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
    check_labels(*given)
    # no constant: XLA would compute what follows from constant labels while it compiles, for minutes
    labels = lax.optimization_barrier(labels)
    where = jnp.ones(scores.shape, bool) if where is None else jnp.asarray(where).astype(bool)
    scores = scores.astype(np.float64 if scores.dtype == np.float64 else np.float32)
    wrong = (labels != 0) & (labels != 1)
    if weights is None:
        weights = jnp.ones_like(scores)
    else:
        weights = lax.stop_gradient(jnp.asarray(weights).astype(scores.dtype))
        wrong |= ~((weights >= 0) & (weights < jnp.inf))
    wrong, counted = wrong & where, where & (weights != 0)
    weights = jnp.where(where & ~wrong, weights, 0)
    sound = nan_where(wrong, scores.dtype, axis_name)
    return Scored(
        jnp.where(counted, scores * sound, 0),  # a factor, so that every gradient becomes NaN
        positive=jnp.where(labels == 1, weights, 0),
        negative=jnp.where(labels == 0, weights, 0),
        sound=sound,
    )


def is_known(array: jax.Array | np.ndarray | None) -> bool:
    """Whether values can be looked at here: neither traced nor on another machine."""
    if isinstance(array, jax.core.Tracer):
        return False
    return not isinstance(array, jax.Array) or array.is_fully_addressable


def constant(name: str, value: float) -> float:
    """`value` as a Python number. Raises ValueError where it is traced: the program is built from it."""
    try:
        return float(value)
    except TypeError as error:
        raise ValueError(
            f"{name} is a constant of the program, got {value!r}; pass a Python float (static_argnames under jit)"
        ) from error


def relative(weights: jax.Array, axis_name: str | None = None) -> tuple[jax.Array, jax.Array]:
    """(weights / largest, largest) of a class: products of two can neither vanish nor overflow. Zero weights stay zero."""
    largest = jnp.max(weights, initial=0)
    if axis_name is not None:
        largest = lax.pmax(largest, axis_name)
    return weights / jnp.where(largest > 0, largest, 1), largest


def nan_where(wrong: jax.Array, dtype: np.dtype, axis_name: str | None = None) -> jax.Array:
    """float[]: 1, or NaN if any element of wrong, bool[n], is True on any device of axis_name."""
    found = jnp.any(wrong)
    if axis_name is not None:
        found = lax.pmax(found.astype(jnp.int32), axis_name) > 0
    return jnp.where(found, jnp.nan, 1).astype(dtype)


def check_labels(labels: jax.Array, where: jax.Array | None) -> None:
    """Raises ValueError for labels outside {0, 1} among those that are not masked, if labels and mask are known here."""
    if not (is_known(labels) and is_known(where)):
        return
    # in numpy: what JAX computes of known arrays inside of jit is traced
    labels = np.asarray(labels)
    wrong = (labels != 0) & (labels != 1)
    if where is not None:
        wrong &= np.asarray(where).astype(bool)
    if np.any(wrong):
        at = int(np.argmax(wrong))
        raise ValueError(
            f"labels must be 0 or 1, got {labels.reshape(-1)[at]} at position {at} "
            f"and {int(wrong.sum()) - 1} more like it; "
            "map the classes to 0 and 1, or mask these samples with where="
        )


def numbers(labels):
    """As an array that may be compared with numbers, whatever JAX is told of promotion."""
    labels = jnp.asarray(labels)
    return labels.astype(jnp.int32) if labels.dtype == bool else labels


def _shape(array):
    return f"{array.dtype}[{','.join(map(str, array.shape))}]"
