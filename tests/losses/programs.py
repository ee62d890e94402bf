"""One compiled program for each form of the loss, which all tests share: `fast` takes some ten CPU seconds to compile."""

import functools

import jax
import numpy as np

from mammojax.losses import pairwise_auc_loss

SIZE = 2048  # what is smaller is padded, with the mask


@functools.cache
def program(implementation, surrogate="logistic", margin=0.0, temperature=1.0):
    """Jitted (scores, labels, weights, where) -> (loss, gradient), float32[SIZE] each."""

    def loss(scores, labels, weights, where):
        return pairwise_auc_loss(scores, labels, where=where, weights=weights, surrogate=surrogate,
                                 implementation=implementation, margin=margin, temperature=temperature)  # fmt: skip

    return jax.jit(jax.value_and_grad(loss))


def value_and_gradient(implementation, scores, labels, weights=None, where=None, **pair):
    """(float, float32[n]) of up to SIZE scores. What is padded is NaN, which must not matter."""
    n = len(scores)
    weights = np.ones(n) if weights is None else weights
    where = np.ones(n, bool) if where is None else where
    arrays = [
        np.concatenate([np.asarray(x, np.float32), np.full(SIZE - n, np.nan, np.float32)])
        for x in (scores, labels, weights)
    ]
    where = np.concatenate([where, np.zeros(SIZE - n, bool)])
    value, gradient = program(implementation, **pair)(*arrays, where)
    assert np.isnan(value) or (np.asarray(gradient)[n:] == 0).all()
    return float(value), np.asarray(gradient)[:n]
