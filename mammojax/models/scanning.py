"""From the pixels of a crop to the np x np x c representation: the plan of a crop, and the scan that follows it.

The paper, section 4: a pretrained convolutional network reads np x np overlapping windows of the full-resolution image,
each giving a feature vector. Here one fully convolutional graph does it, in one of two ways, by the network's own head:

- "stride" (VGG-M): the stride of the first layer is chosen per axis so that the output is np x np for this crop. Strides
  beyond the first kernel would skip pixels; the crop is then reduced by area averaging just enough.
- "pool" (EfficientNet-Lite0, whose own head pools globally): all strides stay as trained; a window is k x k cells of
  the tap's map, of which each channel's maximum is kept, and windows of one size are read with a stride of t cells per
  axis. k is 1.5 times the stride that would just cover the longer axis, and each axis takes the smallest t with which
  its windows cover all its cells: neighbours overlap by a third or more. The maximum and not the mean: on the phantom,
  means over windows of hundreds of pixels hid lesions of tens of pixels.

The crop is padded with background below and at the right to the planned size. The plan depends on the crop through
(t rows, t columns), or the two strides, alone: crops of any size need few compiled programs.
"""

import functools
import hashlib
import importlib
from dataclasses import dataclass, field

import jax
import numpy as np
from flax import nnx

from mammojax.errors import UserError
from mammojax.models.backbones import BACKBONES
from mammojax.models.backbones.contract import Backbone, output_side, receptive_field
from mammojax.models.layers import window_maxima


@dataclass(frozen=True)
class Plan:
    """How crops of one kind are read; hashable, a static argument of jitted functions.

    backbone, tap: names. cells: np. input_shape: (rows, columns) in pixels after reduction and padding. first_strides:
    of the first layer per axis, None for native. window, step: cells of the tap's map that a window holds and that
    lie between windows, per axis; None for "stride". crop_shape, reduced_shape: this crop's size before and after area
    averaging (not compared: plans that compile to the same program are equal).
    """

    backbone: str
    tap: str
    cells: int
    input_shape: tuple[int, int]
    first_strides: tuple[int, int] | None
    window: tuple[int, int] | None
    step: tuple[int, int] | None
    crop_shape: tuple[int, int] = field(compare=False)
    reduced_shape: tuple[int, int] = field(compare=False)

    @property
    def reduction(self) -> tuple[float, float]:
        """Crop pixels per pixel that is read, rows and columns; 1 at full resolution."""
        return tuple(a / b for a, b in zip(self.crop_shape, self.reduced_shape))

    def cell_windows(self) -> np.ndarray:
        """float64[np, np, 4]: top, left, bottom, right in crop pixels of what each cell sees, cut to the crop.

        A cell whose window lies in the padding has no area.
        """
        tap = _contract(self.backbone).tap(self.tap)
        edges = []
        for axis in range(2):
            first = self.first_strides[axis] if self.first_strides else None
            start, pitch, size = receptive_field(tap.layers, first)
            cell = np.arange(self.cells) * (self.step[axis] if self.step else 1)
            begin = start + cell * pitch
            end = begin + size + ((self.window[axis] - 1) * pitch if self.window else 0)
            scaled = np.stack([begin, end]) * self.reduction[axis]
            edges.append(np.clip(scaled, 0, self.crop_shape[axis]))
        (top, bottom), (left, right) = edges
        grid = [
            np.broadcast_to(v, (self.cells, self.cells)) for v in (top[:, None], left, bottom[:, None], right)
        ]
        return np.stack(grid, -1)

    def describe(self) -> str:
        """One line; equal for equal plans."""
        how = (
            f"first layer's strides {self.first_strides[0]} x {self.first_strides[1]}"
            if self.first_strides
            else (
                f"windows of {self.window[0]} x {self.window[1]} cells every {self.step[0]} x {self.step[1]}"
            )
        )
        rows, columns = self.input_shape
        return f"{self.backbone} {self.tap}: {rows} x {columns} pixels to {self.cells} x {self.cells} cells, {how}"


def _module(name: str):
    if name not in BACKBONES:
        raise UserError(f"unknown backbone {name!r}; known are {', '.join(BACKBONES)}")
    return importlib.import_module(BACKBONES[name])


def _contract(name: str) -> Backbone:
    return _module(name).BACKBONE


def plan(
    crop_shape: tuple[int, int],
    backbone: Backbone,
    cells: int,
    *,
    tap: str | None = None,
    max_side: int | None = None,
) -> Plan:
    """How a crop of `crop_shape` (rows, columns) becomes cells x cells vectors; any size from one pixel on.

    max_side: crops whose longer side exceeds it are reduced to it by area averaging.
    Raises UserError for cells < 1.
    """
    if cells < 1:
        raise UserError(f"config.model.np is {cells}; expected at least 1")
    chosen = backbone.tap(tap)
    factor = max(1.0, max(crop_shape) / max_side) if max_side else 1.0
    make = _pool_plan if backbone.reading == "pool" else _stride_plan
    return make(tuple(map(int, crop_shape)), factor, backbone, chosen, cells)


def _reduced(crop_shape, factor):
    return tuple(max(1, round(side / factor)) for side in crop_shape)


def _pool_plan(crop_shape, factor, backbone, tap, cells) -> Plan:
    reduced = _reduced(crop_shape, factor)
    pitch = receptive_field(tap.layers)[1]
    wanted = [output_side(tap.layers, side) for side in reduced]
    longest = max(
        1, -(-max(wanted) * 2 // (2 * cells + 1))
    )  # smallest t with t (np - 1) + 1.5 t >= cells of the map
    window = -(-3 * longest // 2)
    step = tuple(max(1, -(-(n - window) // max(cells - 1, 1))) for n in wanted)
    if cells == 1:
        window, step = max(wanted), (1, 1)
    shape = tuple(pitch * (window + t * (cells - 1)) for t in step)
    return Plan(backbone.name, tap.name, cells, shape, None, (window, window), step, crop_shape, reduced)


def _stride_plan(crop_shape, factor, backbone, tap, cells) -> Plan:
    sides = _sides_by_stride(tap.layers, cells)
    factor = max(factor, max(crop_shape) / sides[-1])  # a stride beyond the first kernel would skip pixels
    reduced = _reduced(crop_shape, factor)
    strides = tuple(next(s for s, side in enumerate(sides, 1) if side >= n) for n in reduced)
    shape = tuple(sides[s - 1] for s in strides)
    return Plan(backbone.name, tap.name, cells, shape, strides, None, None, crop_shape, reduced)


@functools.cache
def _sides_by_stride(layers, cells: int) -> tuple[int, ...]:
    """The largest side with `cells` cells for each first stride 1 ... first kernel."""
    sides = []
    for stride in range(1, layers[0].kernel + 1):
        side = receptive_field(layers, stride)[1] * cells  # one step a cell: near the answer
        while output_side(layers, side, stride) <= cells:
            side += stride
        while output_side(layers, side, stride) > cells:
            side -= 1
        sides.append(side)
    return tuple(sides)


def prepare_image(image: np.ndarray, bits: int, chosen: Plan) -> np.ndarray:
    """float32[H, W, 1] in [0, 1]: a crop reduced and padded as planned, at full bit depth.

    image: uint16[h, w], values in [0, 2**bits - 1]; of the plan's crop size or (augmented) near it.
    """
    rows, columns = chosen.reduced_shape
    pixels = image.astype(np.float32)
    if pixels.shape != (rows, columns):
        from PIL import Image

        pixels = np.asarray(Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BOX))
    out = np.zeros((*chosen.input_shape, 1), np.float32)
    out[:rows, :columns, 0] = pixels / np.float32(2**bits - 1)
    return out


class ScanningNetwork(nnx.Module):
    """A pretrained network up to its tap.

    backbone: its contract. tap, channels: where representations come from. provenance: a line for people. identity: a
    hash of the weights, for cache keys.
    """

    def __init__(self, name: str, tap: str | None, variables: dict, provenance: str, identity: str):
        self.backbone = _contract(name)
        try:
            chosen = self.backbone.tap(tap)
        except KeyError:
            known = ", ".join(t.name for t in self.backbone.taps)
            raise UserError(f"unknown tap {tap!r} of {name}; known are {known}") from None
        self.tap, self.channels = chosen.name, chosen.channels
        self.provenance, self.identity = provenance, identity
        self.layers = nnx.Dict(
            {
                layer: nnx.Dict({part: nnx.Param(jax.numpy.asarray(value)) for part, value in parts.items()})
                for layer, parts in variables.items()
            }
        )

    def variables(self) -> dict:
        """{layer: {"kernel", "bias"}} as arrays."""
        return {
            name: {part: value[...] for part, value in layer.items()} for name, layer in self.layers.items()
        }


def load_backbone(
    name: str, *, tap: str | None = None, weights: str | None = None, seed: int = 0
) -> ScanningNetwork:
    """The pretrained scanning network of this name.

    weights: a file, None for the backbone's own; seed: of random weights where there are none.
    Raises UserError for an unknown name or tap, and for weights that are absent or of another network.
    """
    variables, provenance, weights_identity = _module(name).load(weights, seed)
    identity = hashlib.sha256(f"{name} {weights_identity}".encode()).hexdigest()[:16]
    return ScanningNetwork(name, tap, variables, provenance, identity)


def scan(network: ScanningNetwork, batch: jax.Array, chosen: Plan) -> jax.Array:
    """float32[b, np, np, c]: the representations of prepared crops. batch: float32[b, H, W, 1] in [0, 1], H x W as
    planned. Differentiable in pixels and weights; jit with the plan static."""
    if batch.shape[1:3] != chosen.input_shape:
        raise ValueError(f"pixels have the shape {batch.shape[1:3]}, the plan reads {chosen.input_shape}")
    values = _module(network.backbone.name).apply(
        network.variables(), batch, network.tap, chosen.first_strides
    )
    if chosen.window is None:
        return values
    return window_maxima(values, size=chosen.window, step=chosen.step)


def whole_image_features(network: ScanningNetwork, batch: jax.Array) -> jax.Array:
    """float32[b, f]: the network's final features of whole images, float32[b, 224, 224, 1] in [0, 1] (baseline 1)."""
    return _module(network.backbone.name).whole_image(network.variables(), batch)
