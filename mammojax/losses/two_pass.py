"""The exact gradient of a loss over a whole set, with the memory of one batch.

The loss of all scores is a function of the scores alone, and a score of the parameters alone. So (1) score every batch
without gradient, (2) take the loss and its slopes dL/ds of all scores at once, (3) score every batch again and pull its
slopes back to the parameters, adding up: dL/dw = sum over batches of (ds/dw)^T dL/ds.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def two_pass(
    score: Callable,
    loss: Callable,
    *,
    has_aux: bool = False,
    loss_has_aux: bool = False,
    tolerance: float | None = None,
) -> Callable:
    """value_and_gradient(params, batches, *rest) -> (float[], a tree like params[, aux][, the loss's aux]), to be made
    once and called often.

    score(params, inputs) -> float[b], pure; with has_aux -> (float[b], aux), and aux of the last batch is returned.
    loss(scores, labels, *rest, where=...) -> float[], of all scores: `pairwise_auc_loss` with its options bound; with
    loss_has_aux -> (float[], aux). rest: what else it takes that changes from call to call, trees of arrays; with score
    buffers, the buffers, and they come back updated as its aux.
    batches: an iterable of (inputs, labels, where) that gives the same batches twice (a list, a data set; no
    generator); or a function that makes such an iterator. inputs: any tree of arrays; labels: int[b], or a tree of
    arrays [b, ...] such as labels and ids; where: bool[b] or None. Every size of batch is compiled once; memory is that
    of one batch, and of all scores.
    tolerance: how far the scores of the two passes, which are two programs, may differ by rounding, as a share of their
    size; None for the root of their type's precision, 3e-4 in float32 and 0.09 in bfloat16. Give more where score
    computes in a shorter type than it returns.

    Raises ValueError if there is no batch, if the second pass sees other batches, or if it gets other scores: then
    `score` draws random numbers, and its gradient would be that of no loss. Draw them from a key in `inputs`.
    """

    def only_scores(params, inputs):
        return score(params, inputs)[0] if has_aux else score(params, inputs)

    first = jax.jit(only_scores)

    @jax.jit
    def slopes_of(scores, labels, rest, where):
        def of_all(scores):
            out = loss(scores, labels, *rest, where=where)
            return out if loss_has_aux else (out, None)

        return jax.value_and_grad(of_all, has_aux=True)(scores)

    def second(params, inputs, slopes, before, where, total, drift):
        def weighed(params):
            out = score(params, inputs)
            scores, aux = out if has_aux else (out, None)
            return jnp.sum(jnp.where(where, scores * slopes, 0)), (scores, aux)

        gradient, (scores, aux) = jax.grad(weighed, has_aux=True)(params)
        moved = jnp.max(jnp.where(where, jnp.abs(scores - before), 0), initial=0)
        return jax.tree.map(jnp.add, total, gradient), jnp.maximum(drift, moved), aux

    second = jax.jit(second, donate_argnums=5)

    def value_and_gradient(params: Any, batches: Iterable | Callable, *rest: Any) -> tuple:
        scores, labels, wheres = [], [], []
        for inputs, label, where in _again(batches):
            scores.append(first(params, inputs))
            labels.append(label)
            wheres.append(np.ones(_size(label), bool) if where is None else np.asarray(where))
        if not scores:
            raise ValueError(
                "two_pass got no batch; give at least one, as a list or a function that makes an iterator"
            )
        every = jnp.concatenate(scores)
        all_labels = jax.tree.map(lambda *parts: jnp.concatenate([jnp.asarray(p) for p in parts]), *labels)
        (value, loss_aux), slopes = slopes_of(every, all_labels, rest, np.concatenate(wheres))
        gradient, drift = jax.tree.map(jnp.zeros_like, params), jnp.zeros((), every.dtype)
        begin, seen = 0, 0
        for seen, (inputs, label, _) in enumerate(_again(batches), 1):
            if seen > len(scores) or _size(label) != len(wheres[seen - 1]):
                raise ValueError(_OTHER_BATCHES)
            end = begin + _size(label)
            part = slopes[begin:end], every[begin:end], wheres[seen - 1]
            gradient, drift, aux = second(params, inputs, *part, gradient, drift)
            begin = end
        if seen != len(scores):
            raise ValueError(_OTHER_BATCHES)
        _check_same(every, drift, np.concatenate(wheres), tolerance)
        return (value, gradient, *([aux] if has_aux else []), *([loss_aux] if loss_has_aux else []))

    return value_and_gradient


_OTHER_BATCHES = (
    "the second pass of two_pass saw other batches than the first; "
    "give a list, or a function that makes the same iterator each time (a generator runs out)"
)


def _again(batches):
    return batches() if callable(batches) else batches


def _size(labels):
    return len(jax.tree.leaves(labels)[0])


def _check_same(scores, drift, where, tolerance):
    """Rounding may differ between the passes, which are two programs; random numbers differ by far more."""
    size = float(jnp.max(jnp.where(where, jnp.abs(scores), 0), initial=0))
    allowed = float(jnp.finfo(scores.dtype).eps) ** 0.5 if tolerance is None else tolerance
    if float(drift) > allowed * max(size, 1.0):
        raise ValueError(
            f"the scores of the two passes differ by {float(drift):.2g} (scores up to {size:.2g}); "
            "score must be a pure function: draw dropout from a key in the batch, and fix batch statistics"
        )
