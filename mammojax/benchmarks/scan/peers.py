"""Programs that read the same image with the same weights: this library's, plain JAX, and PyTorch as its users write it.

Each is prepared for given pixels and called without arguments: only the computation lies between call and return. The
peers get pixels as they enter the first layer, and batch normalisation folded into the kernels as the library has it:
the harder rivals.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.benchmarks.scan.cost import Reading
from mammojax.benchmarks.timing import Unavailable
from mammojax.models.backbones.efficientnet_lite import STAGES
from mammojax.models.layers import EXACT, same_padding
from mammojax.models.plans import backbone_module

PEERS = {"torch": ("torch contiguous", "torch channels_last"), "jax": ("jax",)}


class Prepared(NamedTuple):
    """call: computes, waits for the device, and returns what the program returns. unpacked: of that, the tap's map
    float32[1, h, w, c]."""

    call: Callable[[], object]
    unpacked: Callable[[object], np.ndarray]


def prepare(name: str, reading: Reading, variables: dict, pixels: np.ndarray) -> Prepared:
    """The program `name`, "mammojax" or one of the peers', for these pixels float32[1, h, w, 1] in [0, 1].

    variables: of the backbone, {layer: {"kernel" HWIO, "bias"}}.
    Raises Unavailable if the program is not installed, or not for this device.
    """
    if name == "mammojax":
        apply = backbone_module(reading.backbone).apply
        return _in_jax(lambda v, x: apply(v, x, reading.tap, reading.first_strides), variables, pixels)
    entering = np.float32(255) * pixels
    if reading.backbone == "efficientnet_lite0":
        entering = (entering - 127) / 128
    if name == "jax":
        plain = {"vgg_m": _plain_vgg_m, "efficientnet_lite0": _plain_lite0}[reading.backbone]
        return _in_jax(lambda v, x: plain(reading, v, x), variables, entering)
    try:
        return _in_torch(reading, variables, entering, name.removeprefix("torch "))
    except ImportError as error:
        raise Unavailable(f"not installed ({error})") from error


def _in_jax(function, variables, pixels) -> Prepared:
    variables, pixels = jax.tree.map(jnp.asarray, (variables, pixels))
    compiled = jax.jit(function).lower(variables, pixels).compile()
    return Prepared(lambda: jax.block_until_ready(compiled(variables, pixels)), np.asarray)


def _convolved(x, layer, stride=(1, 1), padding="SAME", groups=1):
    form = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(
        x,
        layer["kernel"],
        stride,
        padding,
        dimension_numbers=form,
        feature_group_count=groups,
        precision=EXACT,
    )
    return y + layer["bias"]


def _plain_vgg_m(reading, variables, x):
    """As the published description reads: window reductions, a power, and fc6 as one more convolution."""

    def trained(name, x, stride=(1, 1), pad=0):
        return jax.nn.relu(_convolved(x, variables[name], stride, ((pad, pad), (pad, pad))))

    def normalised(x):
        beside = ((0, 0), (0, 0), (0, 0), (2, 2))
        total = lax.reduce_window(x * x, 0.0, lax.add, (1, 1, 1, 5), (1, 1, 1, 1), beside)
        return x * jnp.power(2 + 5e-4 / 5 * total, -0.75)

    def pooled(x):
        hang = [(0, (3 - side) % 2) for side in x.shape[1:3]]
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), *hang, (0, 0)))

    x = pooled(normalised(trained("conv1", x, reading.first_strides or (2, 2))))
    x = pooled(normalised(trained("conv2", x, (2, 2), 1)))
    for name in ("conv3", "conv4", "conv5"):
        x = trained(name, x, pad=1)
    x = pooled(x)
    return x if reading.tap == "pool5" else trained("fc6", x)


def _plain_lite0(reading, variables, x):
    """As the published network reads, with its depthwise convolutions as grouped ones."""
    x = _relu6(_convolved(x, variables["stem"], (2, 2)))
    for name, _, stride, adds in _lite0_blocks(reading.tap):
        y = _relu6(_convolved(x, variables[f"{name}_expand"])) if f"{name}_expand" in variables else x
        y = _relu6(_convolved(y, variables[f"{name}_depthwise"], (stride, stride), groups=y.shape[-1]))
        y = _convolved(y, variables[f"{name}_project"])
        x = x + y if adds else y
    return _relu6(_convolved(x, variables["head"])) if reading.tap == "head" else x


def _relu6(x):
    return jnp.clip(x, 0, 6)


def _lite0_blocks(tap) -> list[tuple[str, int, int, bool]]:
    """(name, kernel, stride, whether it adds its input) of the blocks up to the tap."""
    stages = STAGES[: {"head": 7, "stride16": 5, "stride8": 3}[tap]]
    blocks = [(k, stride if j == 0 else 1, j > 0) for n, k, stride, *_ in stages for j in range(n)]
    return [(f"block{i}", *block) for i, block in enumerate(blocks)]


def _in_torch(reading, variables, pixels, memory_format) -> Prepared:
    import torch

    if jax.default_backend() == "cpu":
        device = "cpu"
    elif torch.cuda.is_available():
        device = "cuda"
    else:
        raise Unavailable("PyTorch sees no accelerator here")
    modules = {"vgg_m": _torch_vgg_m, "efficientnet_lite0": _torch_lite0}[reading.backbone]
    form = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}[memory_format]
    network = modules(reading, variables).eval().to(device).to(memory_format=form)
    image = torch.tensor(pixels.transpose(0, 3, 1, 2)).to(device).contiguous(memory_format=form)

    @torch.inference_mode()
    def call():
        y = network(image)
        if device == "cuda":
            torch.cuda.synchronize()
        return y

    return Prepared(call, lambda y: y.permute(0, 2, 3, 1).cpu().numpy())


def _torch_convolution(layer, groups: int = 1, **options):
    import torch

    kernel = np.asarray(layer["kernel"])
    rows, columns, inputs, outputs = kernel.shape
    module = torch.nn.Conv2d(inputs * groups, outputs, (rows, columns), groups=groups, **options)
    with torch.no_grad():
        module.weight.copy_(torch.tensor(kernel.transpose(3, 2, 0, 1)))
        module.bias.copy_(torch.tensor(np.asarray(layer["bias"])))
    return module


def _torch_vgg_m(reading, variables):
    from torch import nn

    def trained(name, **options):
        return [_torch_convolution(variables[name], **options), nn.ReLU(inplace=True)]

    def normalised_and_pooled():  # PyTorch divides alpha by the size, as the network's authors do
        return [nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0), nn.MaxPool2d(3, 2, ceil_mode=True)]

    modules = [
        *trained("conv1", stride=reading.first_strides or (2, 2)),
        *normalised_and_pooled(),
        *trained("conv2", stride=2, padding=1),
        *normalised_and_pooled(),
        *(module for name in ("conv3", "conv4", "conv5") for module in trained(name, padding=1)),
        nn.MaxPool2d(3, 2, ceil_mode=True),
    ]
    return nn.Sequential(*modules, *(trained("fc6") if reading.tap == "fc6" else []))


def _torch_lite0(reading, variables):
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body = body

        def forward(self, x):
            return x + self.body(x)

    sides = reading.shape

    def same(name, kernel=1, stride=1, groups=1, bounded=True):
        """TensorFlow's SAME padding, which is uneven where a layer strides: a module of its own there."""
        nonlocal sides
        (top, bottom), (left, right) = (same_padding(side, kernel, stride) for side in sides)
        sides = tuple(-(-side // stride) for side in sides)
        even = (top, left) == (bottom, right)
        padding = (top, left) if even else 0
        modules = [] if even else [nn.ZeroPad2d((left, right, top, bottom))]
        modules.append(_torch_convolution(variables[name], groups, stride=stride, padding=padding))
        return [*modules, nn.ReLU6(inplace=True)] if bounded else modules

    modules = same("stem", 3, 2)
    for name, kernel, stride, adds in _lite0_blocks(reading.tap):
        channels = variables[f"{name}_depthwise"]["kernel"].shape[-1]
        body = nn.Sequential(
            *(same(f"{name}_expand") if f"{name}_expand" in variables else []),
            *same(f"{name}_depthwise", kernel, stride, channels),
            *same(f"{name}_project", bounded=False),
        )
        modules.append(Residual(body) if adds else body)
    return nn.Sequential(*modules, *(same("head") if reading.tap == "head" else []))
