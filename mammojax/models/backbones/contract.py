"""What a scanning network tells of itself: enough to plan how a crop of any size is read."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Padding = Literal["own", "valid"]


@dataclass(frozen=True)
class Layer:
    """One layer along one axis. padding: pixels on each side, or "same". ceil: the last window may hang over."""

    kernel: int
    stride: int = 1
    padding: int | Literal["same"] = 0
    ceil: bool = False

    def output(self, side: int) -> int:
        """Cells along the axis for an input of `side` pixels; 0 if the kernel does not fit."""
        if self.padding == "same":
            return -(-side // self.stride)
        room = side + 2 * self.padding - self.kernel
        if room < 0:
            return 0
        return (-(-room // self.stride) if self.ceil else room // self.stride) + 1

    def before(self, side: int) -> int:
        """Pixels of padding before the first one for an input of `side` pixels."""
        if self.padding == "same":
            return max((self.output(side) - 1) * self.stride + self.kernel - side, 0) // 2
        return self.padding


PIXELWISE = Layer(1)


@dataclass(frozen=True)
class Tap:
    """A layer that representations are taken from. layers: one for each step of the backbone's `layers`, from the pixels
    up to it; `PIXELWISE` for what reads one place at a time.
    """

    name: str
    channels: int
    layers: tuple[Layer, ...]

    def padded(self, padding: Padding) -> tuple[Layer, ...]:
        """The layers as trained ("own"), or without padding and with pools that never hang over ("valid")."""
        if padding == "own":
            return self.layers
        return tuple(Layer(layer.kernel, layer.stride) for layer in self.layers)


@dataclass(frozen=True)
class Backbone:
    """A pretrained network as it scans.

    reading: how np x np cells come about. "stride": the first layer's stride is chosen per axis (the paper, section 4).
    "pool": all layers keep their native strides, and of windows of k x k cells of the tap's map each channel's maximum
    is kept; for networks whose own head pools over the whole map. taps: the first is the default. window: side in
    pixels of the images that the network was trained on. parts: the names that its parameters' names start with, from
    the pixels on.
    """

    name: str
    reading: Literal["stride", "pool"]
    taps: tuple[Tap, ...]
    window: int = 224
    parts: tuple[str, ...] = ()

    def tap(self, name: str | None) -> Tap:
        """The tap of this name, the default for None; KeyError for an unknown one."""
        return self.taps[0] if name is None else {tap.name: tap for tap in self.taps}[name]


def restrided(layers: tuple[Layer, ...], first_stride: int | None) -> tuple[Layer, ...]:
    """The layers with another stride of the first one; None keeps it."""
    if first_stride is None:
        return layers
    first = layers[0]
    return (Layer(first.kernel, first_stride, first.padding, first.ceil), *layers[1:])


def output_side(layers: tuple[Layer, ...], side: int, first_stride: int | None = None) -> int:
    """Cells along one axis after all layers, with another stride of the first layer if given."""
    for layer in restrided(layers, first_stride):
        side = layer.output(side)
        if side == 0:
            return 0
    return side


def receptive_field(layers: tuple[Layer, ...], first_stride: int | None = None) -> tuple[int, int, int]:
    """(start, step, size) in pixels along one axis: cell i sees pixels start + i step ... start + i step + size - 1.

    "same" padding is taken as that of a side that the strides divide: half of kernel - stride before the first pixel.
    """
    start, step, size = 0, 1, 1
    for layer in restrided(layers, first_stride):
        before = max(layer.kernel - layer.stride, 0) // 2 if layer.padding == "same" else layer.padding
        start -= before * step
        size += (layer.kernel - 1) * step
        step *= layer.stride
    return start, step, size


def cell_centre(layers: tuple[Layer, ...], first_stride: int | None = None) -> tuple[float, int]:
    """(offset, step) in pixels along one axis: what cell i tells lies around offset + i step; pixel centres are whole.

    The middle of what it sees, but for strided "same" layers, which pad more after than before: there it is the middle
    of the `stride` pixels that a cell stands for. Trained kernels lean to where they lie: EfficientNet-Lite0's slopes
    have their centre 3.3 to 4.0 (stride 8) and 6.6 to 11 pixels (stride 16) into a cell; the middles of what is seen
    are 7 and 15, of what is stood for 3.5 and 7.5.
    """
    offset, step = 0.0, 1
    for layer in restrided(layers, first_stride):
        reach = layer.stride - 1 if layer.padding == "same" else layer.kernel - 1 - 2 * layer.padding
        offset += reach / 2 * step
        step *= layer.stride
    return offset, step


def scan_side(backbone: Backbone, tap: Tap, padding: Padding, cells: int, first_stride: int) -> int:
    """Side in pixels that gives `cells` cells at this stride of the first layer, without a pixel to spare.

    kernel + s (steps of one window + pitch (cells - 1)), with the pitch the product of the later strides. One window
    has as many first-layer steps as the images the network was trained on ("own": VGG-M 108, from 224 pixels), or as
    many as one cell needs where nothing is padded ("valid": VGG-M 162).
    """
    layers = tap.padded(padding)
    pitch = receptive_field(layers, 1)[1]
    if padding == "own":
        steps = layers[0].output(backbone.window) - 1 - pitch * (output_side(layers, backbone.window) - 1)
    else:
        steps = receptive_field(layers, 1)[2] - layers[0].kernel
    return (
        layers[0].kernel
        - 2 * layers[0].before(backbone.window)
        + first_stride * (steps + pitch * (cells - 1))
    )


def pixels_read(
    layers: tuple[Layer, ...], side: int, cells: np.ndarray, first_stride: int | None = None
) -> np.ndarray:
    """bool[side]: the pixels along one axis that some cell marked in `cells` depends on; exact, padding included."""
    layers = restrided(layers, first_stride)
    sides = [side]
    for layer in layers:
        sides.append(layer.output(sides[-1]))
    read = np.zeros(sides[-1], bool)
    read[: len(cells)] = cells
    for layer, inputs in zip(reversed(layers), reversed(sides[:-1])):
        starts = np.flatnonzero(read) * layer.stride - layer.before(inputs)
        places = (starts[:, None] + np.arange(layer.kernel)).ravel()
        read = np.zeros(inputs, bool)
        read[places[(places >= 0) & (places < inputs)]] = True
    return read
