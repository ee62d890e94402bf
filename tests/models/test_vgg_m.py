"""VGG-M layer by layer against an implementation in numpy float64 that shares nothing with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mammojax.models.backbones import vgg_m
from mammojax.models.backbones.contract import output_side, receptive_field, scan_side
from mammojax.models.weights.random import random_layers

SIDE = (
    7 + 97
)  # the smallest image with one cell at fc6 and stride 1: every layer is small, and every kernel is used
NAMES = ["conv1", "lrn1", "pool1", "conv2", "lrn2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc6"]
TAP = vgg_m.BACKBONE.tap("fc6")


def windows(x, size, stride):
    """[h', w', c, size, size] of every window of a map [h, w, c]."""
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), (0, 1))[::stride, ::stride]


def convolved(x, layer, stride, pad):
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    kernel = layer["kernel"].astype(np.float64)
    found = np.einsum("hwcij,ijco->hwo", windows(x, kernel.shape[0], stride), kernel, optimize=True)
    return np.maximum(found + layer["bias"], 0)


def normalised(x):
    """Chatfield et al. 2014: size 5, alpha 5e-4 divided by the size, beta 0.75, k 2."""
    sums = np.stack([(x[..., max(c - 2, 0) : c + 3] ** 2).sum(-1) for c in range(x.shape[-1])], -1)
    return x * (2 + 5e-4 / 5 * sums) ** -0.75


def pooled(x, hangs_over=True):
    """3/2 maxima; in ceil mode a window may hang over the lower and the right edge, if it begins inside."""
    if hangs_over:
        more = [(-(side - 3)) % 2 for side in x.shape[:2]]
        x = np.pad(x, ((0, more[0]), (0, more[1]), (0, 0)), constant_values=-np.inf)
    return windows(x, 3, 2).max((-2, -1))


def reference(layers, image, stride, padded=True):
    """{layer: map} of an image float64[h, w, c] as it enters conv1."""
    pad = int(padded)
    maps = {"conv1": convolved(image, layers["conv1"], stride, 0)}
    maps["lrn1"] = normalised(maps["conv1"])
    maps["pool1"] = pooled(maps["lrn1"], padded)
    maps["conv2"] = convolved(maps["pool1"], layers["conv2"], 2, pad)
    maps["lrn2"] = normalised(maps["conv2"])
    maps["pool2"] = pooled(maps["lrn2"], padded)
    for before, name in zip(("pool2", "conv3", "conv4"), ("conv3", "conv4", "conv5")):
        maps[name] = convolved(maps[before], layers[name], 1, pad)
    maps["pool5"] = pooled(maps["conv5"], padded)
    maps["fc6"] = convolved(maps["pool5"], layers["fc6"], 1, 0)
    return maps


@pytest.fixture(scope="module")
def published_shapes():
    """Random kernels and biases of the published shapes, BGR."""
    layers = random_layers(vgg_m.SHAPES, 0)
    rng = np.random.default_rng(1)
    for layer in layers.values():
        layer["bias"] = rng.normal(0, 0.1, layer["bias"].shape).astype(np.float32)
    return layers


def test_the_shapes_are_the_published_ones(published_shapes):
    shapes = {name: layer["kernel"].shape for name, layer in published_shapes.items()}
    assert shapes == {
        "conv1": (7, 7, 3, 96),
        "conv2": (5, 5, 96, 256),
        "conv3": (3, 3, 256, 512),
        "conv4": (3, 3, 512, 512),
        "conv5": (3, 3, 512, 512),
        "fc6": (6, 6, 512, 4096),
    }
    assert vgg_m.BACKBONE.parts == ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6")
    assert output_side(TAP.layers, 224) == 1  # the published input is one window
    assert receptive_field(TAP.layers, 2)[1] == 32


def test_every_layer_of_the_grey_network_is_the_colour_network_on_three_equal_channels(published_shapes):
    grey = np.random.default_rng(2).integers(0, 4096, (SIDE, SIDE)) / 4095
    bgr = np.stack([grey * 255 - mean for mean in (103.939, 116.779, 123.68)], -1)
    expected = reference(published_shapes, bgr, stride=1)
    steps = vgg_m.layers(vgg_m.grey(published_shapes), "fc6", (1, 1))
    assert [name for name, _ in steps] == NAMES
    x = jnp.asarray(grey[None, ..., None] * 255, jnp.float32)
    for name, layer in steps:
        x = jax.jit(layer)(x)
        found, scale = np.asarray(x, np.float64)[0], np.abs(expected[name]).max()
        assert found.shape == expected[name].shape, name
        # float32 against float64. conv1 sums 49 products of pixels up to 255 whose mean cancels against the bias; each
        # later layer adds the rounding of its own sums (up to 18432 products) to what it was given
        assert np.abs(found - expected[name]).max() < 1e-5 * scale, name
    assert x.shape == (1, 1, 1, 4096) and float(x.max()) > 0


@pytest.mark.parametrize("padding", ["own", "valid"])
def test_other_strides_and_no_padding_are_the_reference_too(thin_network, padding):
    # the wiring of the real net with few channels: float64 sums stay cheap at every stride
    layers = jax.tree.map(np.asarray, thin_network.variables())
    for strides in ((2, 2), (3, 5)):
        sides = [scan_side(vgg_m.BACKBONE, TAP, padding, 2, s) for s in strides]
        image = np.random.default_rng(3).uniform(0, 1, (1, *sides, 1)).astype(np.float32)
        found = vgg_m.apply(layers, jnp.asarray(image), "fc6", strides, padding=padding)
        expected = np.maximum(unequal_strides(layers, image[0] * 255.0, strides, padding == "own"), 0)
        assert found.shape == (1, 2, 2, layers["fc6"]["kernel"].shape[-1])
        assert np.abs(np.asarray(found)[0] - expected).max() < 1e-5 * expected.max()  # float32, as above


def unequal_strides(layers, image, strides, padded):
    """fc6 by numpy: conv1 at stride 1, of which every s-th row and column is kept."""
    first = convolved(image.astype(np.float64), layers["conv1"], 1, 0)[:: strides[0], :: strides[1]]
    passed = {"kernel": np.eye(first.shape[-1])[None, None], "bias": np.zeros(first.shape[-1])}
    return reference({**layers, "conv1": passed}, first, 1, padded)["fc6"]


@pytest.mark.parametrize("padding, one", [("own", 108), ("valid", 162)])
def test_the_side_for_np_cells_follows_the_formula_and_the_shapes(thin_network, padding, one):
    for stride in (1, 2, 4, 7):
        for cells in (1, 2, 15, 64):
            side = scan_side(vgg_m.BACKBONE, TAP, padding, cells, stride)
            assert side == 7 + stride * (one + 16 * (cells - 1))
            assert output_side(TAP.padded(padding), side, stride) == cells
            shape = jax.eval_shape(
                lambda v, x, s=stride: vgg_m.apply(v, x, "fc6", (s, s), padding=padding),
                thin_network.variables(),
                jax.ShapeDtypeStruct((1, side, side, 1), np.float32),
            ).shape
            assert shape == (1, cells, cells, 24)
