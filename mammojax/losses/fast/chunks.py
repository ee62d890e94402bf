"""Passes over the scores: by chunks, so that what is computed of them stays in the cache, and memory is O(1)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

CHUNK = 1 << 16  # scores that are worked on at a time


def sweep(body: Callable, start, weights: jax.Array, *arrays: jax.Array, chunk: int = CHUNK):
    """Fold body(carry, at, weights, *arrays) over chunks of the arrays, float[n] all; at: where the chunk begins.

    A sample that comes up twice (the last chunk overlaps the one before) has weight zero the second time.
    """
    size = weights.shape[0]
    chunk = min(chunk, size)
    if chunk == size:
        return body(start, np.int32(0), weights, *arrays)

    def step(i, carry):
        at = jnp.minimum(i * np.int32(chunk), np.int32(size - chunk))
        w, *parts = (lax.dynamic_slice(x, (at,), (chunk,)) for x in (weights, *arrays))
        again = at + np.arange(chunk, dtype=np.int32) < i * np.int32(chunk)
        return body(carry, at, jnp.where(again, 0, w), *parts)

    return lax.fori_loop(np.int32(0), np.int32(-(-size // chunk)), step, start)


def zeros(shape: tuple[int, ...], weights: jax.Array, dtype=None) -> jax.Array:
    """Zeros that are made of data: under `shard_map` they count as different on every device, as sums must."""
    return lax.convert_element_type(jnp.zeros(shape, weights.dtype) + 0 * weights[0], dtype or weights.dtype)
