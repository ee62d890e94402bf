"""VGG-M (CNN-M of Chatfield et al. 2014), the paper's scanning network: five convolutions and fc6 as a 6 x 6 convolution.

Published as a MatConvNet file, from which `convert` makes a safetensors file with the kernels `conv1.kernel`
[7, 7, 3, 96] ... `fc6.kernel` [6, 6, 512, 4096] (HWIO, BGR input) and their biases. Without one the weights are random,
which is said loudly. Input: BGR, 0..255, less the mean colour, which a converted file names (of the pictures that it was
trained on) and else is 103.939, 116.779, 123.68. A grey image through it is the same function as one channel with summed
kernels and a bias corrected by the means (conv1 has no padding, so this is exact).
"""

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mammojax.models.backbones.contract import PIXELWISE, Backbone, Layer, Padding, Tap
from mammojax.models.layers import (
    convolution,
    in_strips,
    in_turn,
    local_response_normalisation,
    max_pool,
    patches_convolution,
)
from mammojax.models.weights.converted import (
    Layers,
    Recipe,
    Weights,
    check_layers,
    read_weights,
)
from mammojax.models.weights.matconvnet_file import convolutions, read_matconvnet_file
from mammojax.models.weights.random import random_layers, said_loudly

PUBLISHED = {"imagenet-vgg-m.mat": "https://www.vlfeat.org/matconvnet/models/imagenet-vgg-m.mat"}
WIRING = (
    *("conv1", "relu", "lrn", "pool"),
    *("conv2", "relu", "lrn", "pool"),
    *("conv3", "relu", "conv4", "relu", "conv5", "relu", "pool"),
    *("fc6", "relu"),
)
MEANS = (103.939, 116.779, 123.68)  # BGR
RECIPE = Recipe("BGR", MEANS)  # of weights that do not name another
SHAPES = {
    "conv1": (7, 7, 3, 96),
    "conv2": (5, 5, 96, 256),
    "conv3": (3, 3, 256, 512),
    "conv4": (3, 3, 512, 512),
    "conv5": (3, 3, 512, 512),
    "fc6": (6, 6, 512, 4096),
}
_TO_CONV5 = (
    *(Layer(7, 2), PIXELWISE, Layer(3, 2, 0, True)),
    *(Layer(5, 2, 1), PIXELWISE, Layer(3, 2, 0, True)),
    *(Layer(3, 1, 1),) * 3,
    Layer(3, 2, 0, True),
)
BACKBONE = Backbone(
    name="vgg_m",
    reading="stride",
    taps=(Tap("fc6", 4096, (*_TO_CONV5, Layer(6))), Tap("pool5", 512, _TO_CONV5)),
    parts=tuple(SHAPES),
)


def grey_shapes() -> dict[str, tuple[int, int, int, int]]:
    """{layer: shape of its kernel, HWIO} as grey images are read."""
    return SHAPES | {"conv1": (7, 7, 1, 96)}


def convert(source: Path) -> Weights:
    """The weights in the published MatConvNet file; UserError for any other. It takes RGB: conv1 is turned to BGR.

    Where the average is a picture, as in the published file, its mean colour is kept: a window lies anywhere.
    """
    network = read_matconvnet_file(source)
    layers = convolutions(network, WIRING, BACKBONE.tap("fc6").layers, BACKBONE.window, source)
    layers["conv1"]["kernel"] = layers["conv1"]["kernel"][:, :, ::-1]
    check_layers(layers, SHAPES, source)
    average = "mean colour of its average image" if network.averaged else "its average colour"
    facts = {"source_format": f"MatConvNet, RGB turned to BGR; means: {average}"}
    return Weights(layers, Recipe("BGR", network.average[::-1]), facts)


def load(weights: str | None, seed: int) -> tuple[dict, str, str]:
    """(variables, provenance, identity); weights: a safetensors file, None for random weights from `seed`."""
    if weights is None:
        text = said_loudly("VGG-M", BACKBONE.name, PUBLISHED)
        return grey(random_layers(SHAPES, seed)), text, f"random-{seed}"
    path = Path(weights)
    found = read_weights(path, BACKBONE.name)
    check_layers(found.layers, SHAPES, path)
    variables = grey(found.layers, found.recipe or RECIPE)
    return variables, f"VGG-M ({found.describe(path)})", found.identity


def grey(layers: Layers, recipe: Recipe = RECIPE) -> dict:
    """The same function of a grey image: conv1 with kernels summed over BGR and the means moved into its bias."""
    slope, offset = recipe.grey(layers["conv1"]["kernel"])
    bias = layers["conv1"]["bias"] - offset.sum((0, 1))
    first = {"kernel": slope[:, :, None].astype(np.float32), "bias": bias.astype(np.float32)}
    return {**{name: dict(layer) for name, layer in layers.items()}, "conv1": first}


def layers(
    variables: dict,
    tap: str,
    first_strides: tuple[int, int] | None = None,
    *,
    padding: Padding = "own",
    dtype=jnp.float32,
) -> list[tuple[str, Callable]]:
    """[(name, function)] from conv1 (its input: pixels in 0..255) up to the tap; each function takes one map.

    padding: as trained with pools in ceil mode, or "valid": no padding and pools that never hang over. dtype: of the
    products, but for conv1's: bfloat16 has eight bits and a pixel has more.
    """
    valid, on_cpu = padding == "valid", jax.default_backend() == "cpu"
    pool = functools.partial(max_pool, ceil=not valid, form="shifts" if on_cpu else "windows")

    def trained(name, form=convolution, **options):
        kernel, bias = variables[name]["kernel"], variables[name]["bias"]
        return name, lambda x: jax.nn.relu(form(x, kernel, bias, **options)).astype(dtype)

    steps = [
        trained("conv1", stride=first_strides or (2, 2)),
        ("lrn1", local_response_normalisation),
        ("pool1", pool),
        trained("conv2", stride=(2, 2), padding=0 if valid else 1),
        ("lrn2", local_response_normalisation),
        ("pool2", pool),
        *(trained(name, padding=0 if valid else 1) for name in ("conv3", "conv4", "conv5")),
        ("pool5", pool),
    ]
    if tap == "pool5":
        return steps
    return [*steps, trained("fc6", patches_convolution if on_cpu else convolution)]


def apply(
    variables: dict,
    batch: jax.Array,
    tap: str,
    first_strides: tuple[int, int] | None = None,
    *,
    padding: Padding = "own",
    dtype=jnp.float32,
    placed: Callable[[jax.Array], jax.Array] | None = None,
) -> jax.Array:
    """float32[b, h', w', c]: the tap's map. batch: float32[b, h, w, 1] in [0, 1]. first_strides: 2 x 2 for None.
    placed: see `in_turn`."""
    steps = layers(variables, tap, first_strides, padding=padding, dtype=dtype)
    if jax.default_backend() == "cpu" and placed is None:  # rows that lie on many devices are strips already
        stride = (first_strides or (2, 2))[0]
        steps[:3] = [
            ("conv1 to pool1", functools.partial(in_strips_to_pool1, steps[:3], stride, padding == "own"))
        ]
    return in_turn(steps, batch * 255, placed).astype(jnp.float32)


def in_strips_to_pool1(steps, stride: int, ceil: bool, pixels: jax.Array) -> jax.Array:
    """pool1's map of conv1, lrn1 and pool1 (`steps`), without conv1's ever being there as a whole: it is the largest."""
    conv1 = (pixels.shape[1] - 7) // stride + 1
    outputs = ((conv1 - 3) + ceil) // 2 + 1

    def read(strip, _):
        return functools.reduce(lambda x, step: step[1](x), steps, strip)

    return in_strips(read, pixels, outputs=outputs, stride=2 * stride, reach=2 * stride + 7)


def whole_image(variables: dict, batch: jax.Array) -> jax.Array:
    """float32[b, 4096]: fc6 of an image of 224 x 224 (one window; the mean where there are more)."""
    return jnp.mean(apply(variables, batch, "fc6"), (1, 2))
