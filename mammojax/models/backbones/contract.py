"""What a scanning network tells of itself: enough to plan how a crop of any size is read."""

from dataclasses import dataclass
from typing import Literal


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


@dataclass(frozen=True)
class Tap:
    """A layer that representations are taken from. layers: from the pixels up to it, first layer first."""

    name: str
    channels: int
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Backbone:
    """A pretrained network as it scans.

    reading: how np x np cells come about. "stride": the first layer's stride is chosen per axis (the paper, section 4).
    "pool": all layers keep their native strides, and of windows of k x k cells of the tap's map each channel's maximum
    is kept; for networks whose own head pools over the whole map. taps: the first is the default.
    """

    name: str
    reading: Literal["stride", "pool"]
    taps: tuple[Tap, ...]

    def tap(self, name: str | None) -> Tap:
        """The tap of this name, the default for None; KeyError for an unknown one."""
        return self.taps[0] if name is None else {tap.name: tap for tap in self.taps}[name]


def output_side(layers: tuple[Layer, ...], side: int, first_stride: int | None = None) -> int:
    """Cells along one axis after all layers, with another stride of the first layer if given."""
    for position, layer in enumerate(layers):
        if position == 0 and first_stride is not None:
            layer = Layer(layer.kernel, first_stride, layer.padding, layer.ceil)
        side = layer.output(side)
        if side == 0:
            return 0
    return side


def receptive_field(layers: tuple[Layer, ...], first_stride: int | None = None) -> tuple[int, int, int]:
    """(start, step, size) in pixels along one axis: cell i sees pixels start + i step ... start + i step + size - 1.

    "same" padding is taken as that of a side that the strides divide: half of kernel - stride before the first pixel.
    """
    start, step, size = 0, 1, 1
    for position, layer in enumerate(layers):
        stride = first_stride if position == 0 and first_stride is not None else layer.stride
        before = max(layer.kernel - stride, 0) // 2 if layer.padding == "same" else layer.padding
        start -= before * step
        size += (layer.kernel - 1) * step
        step *= stride
    return start, step, size
