"""The slopes of a grouped convolution, which have a form of their own, are those that JAX finds by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mammojax.models.layers import depthwise, same_padding


@pytest.mark.parametrize(("size", "stride", "dtype", "near"), [(3, 1, "float32", 1e-5), (5, 2, "float32", 1e-5),
                                                                (3, 2, "bfloat16", 1e-2)])  # fmt: skip
def test_the_slopes_of_a_grouped_convolution_are_those_of_the_plain_one(size, stride, dtype, near):
    """near: float32 sums of 99 products in another order; slopes and maps of bfloat16 have eight bits."""
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 11, 9, 6)), rng.normal(size=(size, size, 1, 6))
    toward = rng.normal(size=(2, -(-11 // stride), -(-9 // stride), 6))

    def plain(x, kernel):
        padding = [same_padding(side, size, stride) for side in x.shape[1:3]]
        numbers = ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(
            x, kernel, (stride, stride), padding, dimension_numbers=numbers, feature_group_count=6
        )
        return (y * toward).sum()

    def grouped(x, kernel):
        y = depthwise(x.astype(dtype), kernel, jnp.zeros(6), stride=stride, form="grouped")
        return (y * jnp.float32(toward)).sum()

    with jax.enable_x64(True):
        expected = jax.jit(jax.grad(plain, (0, 1)))(x, kernel)
    found = jax.jit(jax.grad(grouped, (0, 1)))(jnp.float32(x), jnp.float32(kernel))
    for a, b in zip(map(np.asarray, found), map(np.asarray, expected), strict=True):
        assert np.abs(a - b).max() < near * np.abs(b).max()
