"""VGG-16 (configuration D of Simonyan and Zisserman 2015): thirteen 3 x 3 convolutions in five blocks, fc6 as 7 x 7.

Weights are published by torchvision (with fc6; RGB, (x / 255 - mean) / deviation) and by Keras (without; BGR 0..255 minus
the mean colour): `convert` makes a safetensors file of either, which keeps its input recipe. Without one the weights are
random, which is said loudly.

A grey image through it is the same function as a first layer of two channels. The network pads *after* the mean has been
taken off, so that beyond the border lies the mean colour, not black, and a bias corrected by the means would be wrong
there. The second channel is one on the image and zero beyond: its kernel holds what the means take off, place by place.

It is read by the stride of its first layer (1 to 3): its own head, fc6, sees windows of a fixed size, as VGG-M's.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mammojax.errors import UserError
from mammojax.models.backbones.contract import Backbone, Layer, Padding, Tap
from mammojax.models.layers import convolution, in_turn, max_pool, patches_convolution
from mammojax.models.weights.converted import (
    Layers,
    Recipe,
    Weights,
    check_layers,
    how_to_convert,
    read_weights,
)
from mammojax.models.weights.keras_file import read_keras_file
from mammojax.models.weights.random import random_layers, said_loudly
from mammojax.models.weights.torch_file import read_torch_file

PUBLISHED = {
    "vgg16-397923af.pth": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5": "https://github.com/fchollet/deep-learning-models/releases"
    "/download/v0.1/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
}
BLOCKS = (
    (64, 2),
    (128, 2),
    (256, 3),
    (512, 3),
    (512, 3),
)  # (channels, convolutions); 2 x 2 maxima after each


def _shapes() -> dict[str, tuple[int, int, int, int]]:
    shapes, before = {}, 3
    for block, (channels, repeats) in enumerate(BLOCKS, 1):
        for j in range(1, repeats + 1):
            shapes[f"conv{block}_{j}"] = (3, 3, before, channels)
            before = channels
    return shapes


SHAPES = _shapes()
FC6 = {"fc6": (7, 7, 512, 4096)}
TORCHVISION = Recipe(
    "RGB", tuple(255 * v for v in (0.485, 0.456, 0.406)), tuple(255 * v for v in (0.229, 0.224, 0.225))
)
KERAS = Recipe("BGR", (103.939, 116.779, 123.68))
_TO_POOL5 = tuple(layer for _, n in BLOCKS for layer in (*(Layer(3, 1, 1),) * n, Layer(2, 2)))
BACKBONE = Backbone(
    name="vgg_16",
    reading="stride",
    taps=(Tap("pool5", 512, _TO_POOL5), Tap("fc6", 4096, (*_TO_POOL5, Layer(7)))),  # Keras publishes no fc6
    parts=(*(f"conv{block}" for block in range(1, 6)), "fc6"),
)


def grey_shapes() -> dict[str, tuple[int, int, int, int]]:
    """{layer: shape of its kernel, HWIO} as grey images are read, fc6 included."""
    return SHAPES | FC6 | {"conv1_1": (3, 3, 2, 64)}


def convert(source: Path) -> Weights:
    """The weights in a published file of torchvision or Keras; UserError for any other."""
    with source.open("rb") as file:
        is_hdf5 = file.read(4) == b"\x89HDF"
    if is_hdf5:
        layers, recipe, form = read_keras_file(source, SHAPES), KERAS, "Keras, without head"
    else:
        layers, recipe, form = _from_torchvision(read_torch_file(source)), TORCHVISION, "torchvision"
    check_layers(layers, SHAPES | (FC6 if "fc6" in layers else {}), source)
    return Weights(layers, recipe, {"source_format": form})


def _from_torchvision(state: dict[str, np.ndarray]) -> Layers:
    """torchvision numbers all modules, convolutions, rectifiers and pools alike; absent layers are left out."""
    layers, position = {}, 0
    for block, (_, repeats) in enumerate(BLOCKS, 1):
        for j in range(1, repeats + 1):
            kernel, bias = (state.get(f"features.{position}.{part}") for part in ("weight", "bias"))
            if kernel is not None and bias is not None and kernel.ndim == 4:
                layers[f"conv{block}_{j}"] = {"kernel": kernel.transpose(2, 3, 1, 0), "bias": bias}
            position += 2
        position += 1
    matrix, bias = (state.get(f"classifier.0.{part}") for part in ("weight", "bias"))
    if matrix is not None and bias is not None and matrix.ndim == 2 and matrix.shape[1] % 49 == 0:
        kernel = matrix.reshape(len(matrix), -1, 7, 7)  # it reads a map as channels, rows, columns
        layers["fc6"] = {"kernel": kernel.transpose(2, 3, 1, 0), "bias": bias}
    return layers


def load(weights: str | None, seed: int) -> tuple[dict, str, str]:
    """(variables, provenance, identity); weights: a converted file, None for random weights from `seed` up to pool5."""
    if weights is None:
        text = said_loudly("VGG-16", BACKBONE.name, PUBLISHED)
        return grey(random_layers(SHAPES, seed), KERAS), text, f"random-{seed}"
    path = Path(weights)
    found = read_weights(path, BACKBONE.name)
    check_layers(found.layers, SHAPES | (FC6 if "fc6" in found.layers else {}), path)
    if found.recipe is None:
        raise UserError(
            f"{path} does not say how pixels enter it (no recipe); {how_to_convert(BACKBONE.name, PUBLISHED)}"
        )
    return grey(found.layers, found.recipe), f"VGG-16 ({found.describe(path)})", found.identity


def grey(layers: Layers, recipe: Recipe) -> dict:
    """The same function of a grey image: conv1_1 with two channels, the pixel in 0..255 and one (zero beyond)."""
    slope, offset = recipe.grey(layers["conv1_1"]["kernel"])
    kernel = np.stack([slope, -offset], 2).astype(np.float32)
    first = {"kernel": kernel, "bias": layers["conv1_1"]["bias"]}
    return {**{name: dict(layer) for name, layer in layers.items()}, "conv1_1": first}


def layers(
    variables: dict,
    tap: str,
    first_strides: tuple[int, int] | None = None,
    *,
    padding: Padding = "own",
    dtype=jnp.float32,
) -> list[tuple[str, Callable]]:
    """[(name, function)] from conv1_1 (its input: pixels in 0..255) up to the tap; each function takes one map.

    padding: as trained, or "valid" for none. dtype: of the products, but for conv1_1's: bfloat16 has eight bits and a
    pixel has more. Raises UserError for fc6 with weights that have none.
    """
    on_cpu, pad = jax.default_backend() == "cpu", 0 if padding == "valid" else 1
    pool = functools.partial(max_pool, ceil=False, size=2, stride=2, form="shifts" if on_cpu else "windows")
    if tap == "fc6" and "fc6" not in variables:
        raise UserError(
            "these weights of vgg_16 have no fc6; choose --config.model.tap=pool5, or "
            f"{how_to_convert(BACKBONE.name, dict([next(iter(PUBLISHED.items()))]))}"
        )

    def trained(name, form=convolution, **options):
        kernel, bias = variables[name]["kernel"], variables[name]["bias"]
        return name, lambda x: jax.nn.relu(form(x, kernel, bias, **options)).astype(dtype)

    _, first = trained("conv1_1", stride=first_strides or (1, 1), padding=pad)
    steps = []
    for block, (_, repeats) in enumerate(BLOCKS, 1):
        steps += [trained(f"conv{block}_{j}", padding=pad) for j in range(1, repeats + 1)]
        steps.append((f"pool{block}", pool))
    steps[0] = ("conv1_1", lambda x: first(jnp.concatenate([x, jnp.ones_like(x)], -1)))
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
    """float32[b, h', w', c]: the tap's map. batch: float32[b, h, w, 1] in [0, 1]. first_strides: 1 x 1 for None.
    placed: see `in_turn`."""
    steps = layers(variables, tap, first_strides, padding=padding, dtype=dtype)
    return in_turn(steps, batch * 255, placed).astype(jnp.float32)


def whole_image(variables: dict, batch: jax.Array) -> jax.Array:
    """float32[b, f]: of images of 224 x 224 fc6 (4096 features, one window), or where the weights have none the mean of
    pool5 (512)."""
    return jnp.mean(apply(variables, batch, "fc6" if "fc6" in variables else "pool5"), (1, 2))
