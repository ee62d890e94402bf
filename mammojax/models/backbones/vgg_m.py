"""VGG-M (CNN-M of Chatfield et al. 2014), the paper's scanning network: five convolutions and fc6 as a 6 x 6 convolution.

Published as a MatConvNet file that cannot be installed from a package index: give a safetensors file with the kernels
`conv1.kernel` [7, 7, 3, 96] ... `fc6.kernel` [6, 6, 512, 4096] (HWIO, BGR input) and their biases. Without one the weights
are random, which is said loudly. Input: BGR, 0..255, mean 103.939, 116.779, 123.68. A grey image through it is the same
function as one channel with summed kernels and a bias corrected by the means (conv1 has no padding, so this is exact).
"""

import hashlib
import warnings as python_warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mammojax.errors import UserError
from mammojax.models.backbones.contract import Backbone, Layer, Tap
from mammojax.models.layers import (
    convolution,
    local_response_normalisation,
    max_pool_ceil,
    patches_convolution,
)

MEANS = (103.939, 116.779, 123.68)  # BGR
SHAPES = {
    "conv1": (7, 7, 3, 96),
    "conv2": (5, 5, 96, 256),
    "conv3": (3, 3, 256, 512),
    "conv4": (3, 3, 512, 512),
    "conv5": (3, 3, 512, 512),
    "fc6": (6, 6, 512, 4096),
}
_TO_CONV5 = (
    Layer(7, 2),
    Layer(3, 2, 0, True),
    Layer(5, 2, 1),
    Layer(3, 2, 0, True),
    *(Layer(3, 1, 1),) * 3,
    Layer(3, 2, 0, True),
)
BACKBONE = Backbone(
    name="vgg_m",
    reading="stride",
    taps=(Tap("fc6", 4096, (*_TO_CONV5, Layer(6))), Tap("pool5", 512, _TO_CONV5)),
)


def load(weights: str | None, seed: int) -> tuple[dict, str, str]:
    """(variables, provenance, identity); weights: a safetensors file, None for random weights from `seed`."""
    if weights is None:
        text = "VGG-M with RANDOM weights: the published ones were not given (--config.model.weights=FILE)"
        python_warnings.warn(text, stacklevel=2)
        return grey(random_kernels(seed)), text, f"random-{seed}"
    from safetensors import SafetensorError
    from safetensors.numpy import load as parse

    try:
        data = Path(weights).read_bytes()
        tensors = parse(data)
        layers = {name: {part: tensors[f"{name}.{part}"] for part in ("kernel", "bias")} for name in SHAPES}
    except OSError as error:
        raise UserError(
            f"{weights} cannot be read ({error.strerror}); give a safetensors file of VGG-M"
        ) from error
    except (SafetensorError, KeyError) as error:
        raise UserError(
            f"{weights} is no safetensors file of VGG-M ({error}); its layers are {', '.join(SHAPES)}"
        ) from error
    for name, shape in SHAPES.items():
        if layers[name]["kernel"].shape != shape or layers[name]["bias"].shape != shape[-1:]:
            got = layers[name]["kernel"].shape
            raise UserError(f"{weights}: {name}.kernel has the shape {got}, expected {shape} (HWIO)")
    identity = hashlib.sha256(data).hexdigest()
    return grey(layers), f"VGG-M ({Path(weights).name}, sha256 {identity[:12]})", identity


def random_kernels(seed: int) -> dict:
    """He-initialised kernels and zero biases of the published shapes."""
    rng = np.random.default_rng(seed)
    return {
        name: {
            "kernel": rng.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape).astype(np.float32),
            "bias": np.zeros(shape[-1], np.float32),
        }
        for name, shape in SHAPES.items()
    }


def grey(layers: dict) -> dict:
    """The same function of a grey image: conv1 with kernels summed over BGR and the means moved into its bias."""
    kernel = layers["conv1"]["kernel"].astype(np.float64)
    bias = layers["conv1"]["bias"] - np.einsum("hwco,c->o", kernel, np.asarray(MEANS))
    first = {"kernel": kernel.sum(2, keepdims=True).astype(np.float32), "bias": bias.astype(np.float32)}
    return {**{name: dict(layer) for name, layer in layers.items()}, "conv1": first}


def apply(
    variables: dict, batch: jax.Array, tap: str, first_strides: tuple[int, int] | None = None
) -> jax.Array:
    """float32[b, h', w', c]: the tap's map. batch: float32[b, h, w, 1] in [0, 1]. first_strides: 2 x 2 for None."""

    def layer(name, x, form=convolution, **options):
        return jax.nn.relu(form(x, variables[name]["kernel"], variables[name]["bias"], **options))

    x = layer("conv1", batch * 255, stride=first_strides or (2, 2))
    x = max_pool_ceil(local_response_normalisation(x))
    x = max_pool_ceil(local_response_normalisation(layer("conv2", x, stride=(2, 2), padding=1)))
    for name in ("conv3", "conv4", "conv5"):
        x = layer(name, x, padding=1)
    x = max_pool_ceil(x)
    if tap == "pool5":
        return x
    return layer("fc6", x, patches_convolution if jax.default_backend() == "cpu" else convolution)


def whole_image(variables: dict, batch: jax.Array) -> jax.Array:
    """float32[b, 4096]: fc6 of an image of 224 x 224 (one window; the mean where there are more)."""
    return jnp.mean(apply(variables, batch, "fc6"), (1, 2))
