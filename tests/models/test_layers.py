"""Layers against numpy in float64, and maps read in strips of rows against whole ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mammojax.models.backbones import vgg_m
from mammojax.models.backbones.efficientnet_lite import LITE0
from mammojax.models.layers import (
    depthwise,
    in_turn,
    local_response_normalisation,
    max_pool,
    patches_convolution,
)
from mammojax.models.weights.random import random_layers


# --- layers against numpy in float64 --------------------------------------------------------------------------------
def reference_convolution(x, kernel, bias, stride, pad):
    x = np.pad(x, ((pad[0], pad[1]), (pad[0], pad[1]), (0, 0)))
    k = kernel.shape[0]
    rows, columns = ((side - k) // stride + 1 for side in x.shape[:2])
    out = np.zeros((rows, columns, kernel.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            out[i, j] = np.tensordot(x[i * stride : i * stride + k, j * stride : j * stride + k], kernel, 3)
    return out + bias


@pytest.mark.parametrize(
    "k, stride, side", [(3, 1, 12), (3, 2, 12), (5, 1, 9), (5, 2, 12), (5, 2, 13), (3, 2, 7)]
)
def test_both_forms_of_a_depthwise_convolution_are_the_reference(k, stride, side):
    rng = np.random.default_rng(k * side)
    x, kernel, bias = rng.normal(size=(side, side, 6)), rng.normal(size=(k, k, 1, 6)), rng.normal(size=6)
    lacking = max((-(-side // stride) - 1) * stride + k - side, 0)
    dense = np.zeros((k, k, 6, 6))
    dense[..., np.arange(6), np.arange(6)] = kernel[:, :, 0]
    expected = reference_convolution(x, dense, bias, stride, (lacking // 2, lacking - lacking // 2))
    for form in ("shifts", "grouped"):
        read = jax.jit(functools.partial(depthwise, stride=stride, form=form))
        found = read(*(jnp.asarray(v, jnp.float32) for v in (x[None], kernel, bias)))
        assert np.abs(np.asarray(found[0]) - expected).max() < 1e-5  # 25 float32 products of size 1 to 4


@pytest.mark.parametrize("form", ["shifts", "windows"])
def test_normalisation_pools_and_patches_are_the_reference(form):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(13, 13, 16)) * 10
    padded = np.pad(x**2, ((0, 0), (0, 0), (2, 2)))
    expected = x * (2 + 1e-4 * sum(padded[..., i : i + 16] for i in range(5))) ** -0.75
    found = jax.jit(local_response_normalisation)(jnp.asarray(x[None], jnp.float32))
    assert np.abs(np.asarray(found[0]) - expected).max() < 1e-5 * np.abs(expected).max()
    rows = [x[i : i + 3].max(0) for i in range(0, 13, 2)][:7]
    pooled = np.stack([np.stack([r[j : j + 3].max(0) for j in range(0, 13, 2)][:7]) for r in rows])
    pool = jax.jit(functools.partial(max_pool, form=form))
    found = np.asarray(pool(jnp.asarray(x[None], jnp.float32)))[0]
    assert found.shape == (6, 6, 16) and np.allclose(found, pooled[:6, :6], rtol=1e-6)
    hanging = jax.eval_shape(functools.partial(max_pool, form="shifts"), jnp.zeros((1, 14, 12, 1)))
    assert hanging.shape == (1, 7, 6, 1)  # the last window hangs over
    kernel, bias = rng.normal(size=(6, 6, 16, 5)), rng.normal(size=5)
    expected = reference_convolution(x, kernel, bias, 1, (0, 0))
    found = jax.jit(patches_convolution)(*(jnp.asarray(v, jnp.float32) for v in (x[None], kernel, bias)))
    assert (
        np.abs(np.asarray(found[0]) - expected).max()
        < 2e-6 * np.abs(x).max() * np.abs(kernel).sum() ** 0.5 * 10
    )


def test_one_grey_channel_is_the_rgb_network_on_three_equal_channels():
    layers = random_layers({"conv1": vgg_m.SHAPES["conv1"]}, 0)
    rng = np.random.default_rng(1)
    grey = rng.uniform(0, 1, (23, 23))
    bgr = np.stack([grey * 255 - mean for mean in vgg_m.MEANS], -1)
    expected = reference_convolution(
        bgr, layers["conv1"]["kernel"].astype(np.float64), layers["conv1"]["bias"], 2, (0, 0)
    )
    first = vgg_m.grey(layers)["conv1"]
    found = reference_convolution(
        grey[..., None] * 255, first["kernel"].astype(np.float64), first["bias"], 2, (0, 0)
    )
    assert (
        np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    )  # kernels and bias rounded to float32


# --- strips ----------------------------------------------------------------------------------------------------------
# no row left over without padding and one that hangs over with it; an odd number; the others when asked for
@pytest.mark.parametrize(
    "rows", [104, 331, *(pytest.param(r, marks=pytest.mark.slow) for r in (107, 211, 330, 333, 500))]
)
def test_first_maps_in_strips_of_rows_are_those_of_the_whole_image(thin_network, rows):
    variables = thin_network.variables()
    pixels = jnp.asarray(np.random.default_rng(rows).uniform(0, 1, (1, rows, 150, 1)), jnp.float32)
    for padding in ("own", "valid"):
        steps = vgg_m.layers(variables, "pool5", (1, 1), padding=padding)[:3]
        whole = jax.jit(lambda x, steps=steps: in_turn(steps, x))(pixels)
        strips = jax.jit(functools.partial(vgg_m.in_strips_to_pool1, steps, 1, padding == "own"))(pixels)
        assert whole.shape == strips.shape and np.array_equal(whole, strips)


def test_blocks_in_strips_of_rows_are_those_of_the_whole_map(lite):
    for rows in (200, 214):  # a whole number of strips, and a rest
        pixels = jnp.asarray(np.random.default_rng(0).uniform(0, 255, (1, rows, 128, 1)), jnp.float32)
        found = []
        for in_caches in (None, 0):
            steps = LITE0.layers(lite.variables(), "stride8", in_caches=in_caches)
            found.append(jax.jit(functools.partial(in_turn, steps))(pixels))
        assert np.allclose(*found, rtol=1e-5, atol=1e-5)  # float32 sums, split otherwise
