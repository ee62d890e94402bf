"""Pairs across devices for the implementations that look at every pair: the negatives travel around a ring.

Every device keeps its positives. The negatives of one device after another pass by, each with the sum of the slopes
that it has met so far; after a full turn they are at home again. No device ever holds more than its own samples and
those of one other: O(N / devices) memory, and O(N / devices) bytes at each of as many steps as there are devices.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax


def value_and_gradient(
    pairs: Callable, scores: jax.Array, weights: jax.Array, axis_name: str
) -> tuple[jax.Array, jax.Array]:
    """The sum over the pairs of all devices, and its gradient by this device's scores.

    pairs(scores, weights) -> (sum, gradient) of one device's samples. scores, weights: float[n], as in `pair_sum.py`.
    """
    size = scores.shape[0]

    def turn(_, carry):
        total, own, visiting, their_weights, theirs = carry
        cost, slopes = pairs(
            jnp.concatenate([scores, visiting]), jnp.concatenate([jnp.maximum(weights, 0), their_weights])
        )
        passing = _pass_on((visiting, their_weights, theirs + slopes[size:]), axis_name)
        return (total + cost, own + slopes[:size], *passing)

    zeros = 0 * weights
    start = (zeros[0], zeros, scores, jnp.minimum(weights, 0), zeros)
    total, own, _, _, theirs = lax.fori_loop(0, lax.axis_size(axis_name), turn, start)
    return lax.psum(total, axis_name), own + theirs


def curvature_product(
    product: Callable, scores: jax.Array, weights: jax.Array, tangent: jax.Array, axis_name: str
) -> jax.Array:
    """float[n]: this device's part of the Hessian times `tangent`; product(scores, weights, tangent) of one device."""
    size = scores.shape[0]

    def turn(_, carry):
        own, visiting, their_weights, their_tangent, theirs = carry
        curved = product(
            jnp.concatenate([scores, visiting]),
            jnp.concatenate([jnp.maximum(weights, 0), their_weights]),
            jnp.concatenate([tangent, their_tangent]),
        )
        passing = _pass_on((visiting, their_weights, their_tangent, theirs + curved[size:]), axis_name)
        return (own + curved[:size], *passing)

    zeros = 0 * weights
    start = (zeros, scores, jnp.minimum(weights, 0), tangent + zeros, zeros)
    own, _, _, _, theirs = lax.fori_loop(0, lax.axis_size(axis_name), turn, start)
    return own + theirs


def _pass_on(arrays, axis_name):
    devices = lax.axis_size(axis_name)
    ring = [(device, (device + 1) % devices) for device in range(devices)]
    return lax.ppermute(arrays, axis_name, ring)
