"""How a crop of any size is read: the plan. As np x np cells (`plan`), or as all cells of the tap (`dense_plan`).

For np x np cells a network reads in one of two ways, by its own head:

- "stride" (VGG-M): the stride of the first layer is chosen per axis so that the output is np x np for this crop. Strides
  beyond the first kernel would skip pixels; the crop is then reduced by area averaging just enough.
- "pool" (EfficientNet-Lite0, whose own head pools globally): all strides stay as trained; a window is k x k cells of
  the tap's map, of which each channel's maximum is kept, and windows of one size are read with a stride of t cells per
  axis. k is 1.5 times the stride that would just cover the longer axis, and each axis takes the smallest t with which
  its windows cover all its cells: neighbours overlap by a third or more. The maximum and not the mean: on the phantom,
  means over windows of hundreds of pixels hid lesions of tens of pixels.

For all cells of the tap all strides stay as trained and no windows are formed.

The crop is padded with background below and at the right to the planned size. The plan depends on the crop through
(t rows, t columns), or the two strides, or a size of few kinds, alone: crops of any size need few compiled programs.
"""

import importlib
import math
from dataclasses import dataclass, field

import numpy as np

from mammojax.errors import UserError
from mammojax.models.backbones import BACKBONES
from mammojax.models.backbones.contract import (
    Backbone,
    Padding,
    Tap,
    cell_centre,
    output_side,
    pixels_read,
    receptive_field,
    scan_side,
)


class _Reading:
    """What is known of any reading of a crop from its sizes: crop_shape, reduced_shape, coverage."""

    @property
    def reduction(self) -> tuple[float, float]:
        """Crop pixels per pixel that is read, rows and columns; 1 at full resolution."""
        return tuple(a / b for a, b in zip(self.crop_shape, self.reduced_shape))

    @property
    def coverage(self) -> float:
        """Share of the crop's pixels that some cell depends on: below 1 where strides or windows leave pixels out."""
        return float(np.prod([self.seen(axis).mean() for axis in range(2)]))

    def pixel_size(self, spacing: tuple[float, float] = (1.0, 1.0)) -> tuple[float, float]:
        """(rows, columns): side of a pixel as the network reads it, in crop pixels, or in mm for a spacing in mm."""
        return tuple(reduction * mm for reduction, mm in zip(self.reduction, spacing))

    def account(self, spacing: tuple[float, float] | None = None) -> str:
        """One line: what of this crop is read, and how finely. spacing: mm a pixel of the crop, rows and columns."""
        rows, columns = self.pixel_size()
        size = f"{rows:.2f} x {columns:.2f} pixels"
        if spacing is not None:
            rows, columns = self.pixel_size(spacing)
            size += f" ({rows:.3f} x {columns:.3f} mm)"
        return (
            f"crop of {self.crop_shape[0]} x {self.crop_shape[1]}: {self.coverage:.1%} of its pixels are read, "
            f"each pixel of the network is {size} of the crop"
        )

    def seen(self, axis: int) -> np.ndarray:
        """bool[crop side]: which rows (axis 0) or columns (axis 1) of the crop some cell depends on."""
        marked = self._marked(axis)
        read = pixels_read(self._layers, self.input_shape[axis], marked, self._first(axis))
        reduced, crop = self.reduced_shape[axis], self.crop_shape[axis]
        # a pixel of the crop reaches the reduced pixels whose area it touches
        first = np.arange(crop) * reduced // crop
        last = -(-(np.arange(crop) + 1) * reduced // crop) - 1
        return read[np.stack([first, last])].any(0)

    @property
    def _layers(self):
        return backbone_module(self.backbone).BACKBONE.tap(self.tap).padded(self.padding)

    def _first(self, axis: int) -> int | None:
        return self.first_strides[axis] if self.first_strides else None


@dataclass(frozen=True)
class Plan(_Reading):
    """How crops of one kind are read; hashable, a static argument of jitted functions.

    backbone, tap: names. cells: np. input_shape: (rows, columns) in pixels after reduction and padding. first_strides:
    of the first layer per axis, None for native. window, step: cells of the tap's map that a window holds and that
    lie between windows, per axis; None for "stride". padding: "own" as trained, "valid" none anywhere. crop_shape,
    reduced_shape: this crop's size before and after area averaging (not compared: plans that compile to the same
    program are equal).
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
    padding: Padding = "own"

    def cell_windows(self) -> np.ndarray:
        """float64[np, np, 4]: top, left, bottom, right in crop pixels of what each cell sees, cut to the crop.

        A cell whose window lies in the padding has no area.
        """
        edges = []
        for axis in range(2):
            start, pitch, size = receptive_field(self._layers, self._first(axis))
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
        padding = "" if self.padding == "own" else ", nothing padded"
        return f"{self.backbone} {self.tap}: {rows} x {columns} pixels to {self.cells} x {self.cells} cells, {how}{padding}"

    def _marked(self, axis: int) -> np.ndarray:
        positions = np.arange(self.cells)
        if self.window:
            positions = (positions[:, None] * self.step[axis] + np.arange(self.window[axis])).ravel()
        marked = np.zeros(positions.max() + 1, bool)
        marked[positions] = True
        return marked


@dataclass(frozen=True)
class DensePlan(_Reading):
    """How crops of one kind are read as all cells of the tap; hashable, a static argument of jitted functions.

    As a `Plan`, but for cells: (rows, columns) of the map that cover this crop, from its top left corner; what lies
    beyond is of the padding (map_shape: all of them). cells is not compared, as crop_shape and reduced_shape.
    """

    backbone: str
    tap: str
    input_shape: tuple[int, int]
    cells: tuple[int, int] = field(compare=False)
    crop_shape: tuple[int, int] = field(compare=False)
    reduced_shape: tuple[int, int] = field(compare=False)
    first_strides: None = field(default=None, init=False)
    window: None = field(default=None, init=False)
    padding: Padding = field(default="own", init=False)

    @property
    def map_shape(self) -> tuple[int, int]:
        """(rows, columns) of the tap's map of the padded crop."""
        return tuple(output_side(self._layers, side) for side in self.input_shape)

    def cell_centres(self) -> np.ndarray:
        """float64[rows, columns, 2]: row and column in crop pixels (centres of pixels are whole numbers) around which
        each cell that covers the crop lies; see `cell_centre`."""
        offset, step = cell_centre(self._layers)
        along = [
            (offset + 0.5 + np.arange(cells) * step) * reduction - 0.5
            for cells, reduction in zip(self.cells, self.reduction)
        ]
        return np.stack(np.meshgrid(*along, indexing="ij"), -1)

    def describe(self) -> str:
        """One line; equal for equal plans."""
        rows, columns = self.input_shape
        return f"{self.backbone} {self.tap}: {rows} x {columns} pixels to every cell"

    def _marked(self, axis: int) -> np.ndarray:
        return np.ones(self.cells[axis], bool)


def backbone_module(name: str):
    """What `backbones` says a backbone holds, of this name; UserError for an unknown one."""
    if name not in BACKBONES:
        raise UserError(f"unknown backbone {name!r}; known are {', '.join(BACKBONES)}")
    module, _, member = BACKBONES[name].partition(":")
    found = importlib.import_module(module)
    return getattr(found, member) if member else found


def plan(
    crop_shape: tuple[int, int],
    backbone: Backbone,
    cells: int,
    *,
    tap: str | None = None,
    max_side: int | None = None,
    padding: Padding = "own",
) -> Plan:
    """How a crop of `crop_shape` (rows, columns) becomes cells x cells vectors; any size from one pixel on.

    max_side: crops whose longer side exceeds it are reduced to it by area averaging. padding: of the layers, "own" as
    trained, or "valid": none, with which every cell is exactly its window read alone (`scan_windows`).
    Raises UserError for cells < 1 and for a padding that the network cannot be read with.
    """
    if cells < 1:
        raise UserError(f"config.model.np is {cells}; expected at least 1")
    if padding not in ("own", "valid") or (padding == "valid" and backbone.reading != "stride"):
        can = "own or valid" if backbone.reading == "stride" else "own"
        raise UserError(f"padding is {padding!r}; {backbone.name} is read with {can}")
    chosen = backbone.tap(tap)
    factor = max(1.0, max(crop_shape) / max_side) if max_side else 1.0
    crop_shape = tuple(map(int, crop_shape))
    if backbone.reading == "pool":
        return _pool_plan(crop_shape, factor, backbone, chosen, cells)
    return _stride_plan(crop_shape, factor, backbone, chosen, cells, padding)


def dense_plan(
    crop_shape: tuple[int, int],
    backbone: Backbone,
    *,
    tap: str | None = None,
    scale: float = 1.0,
    max_side: int | None = None,
) -> DensePlan:
    """How a crop of `crop_shape` (rows, columns) is read as all cells of the tap; any size from one pixel on.

    scale: of the crop before it is read, by area averaging; max_side: those whose longer side is larger still are
    reduced to it. A crop smaller than one cell sees is padded to give one.
    """
    chosen = backbone.tap(tap)
    crop_shape = tuple(map(int, crop_shape))
    factor = max(1 / scale, max(crop_shape) / max_side if max_side else 0)
    reduced = _reduced(crop_shape, factor)
    cells = tuple(max(1, output_side(chosen.layers, side)) for side in reduced)
    shape = tuple(_dense_side(chosen, side) for side in reduced)
    return DensePlan(backbone.name, chosen.name, shape, cells, crop_shape, reduced)


def _dense_side(tap: Tap, side: int) -> int:
    """The smallest of few kinds of sides that holds `side` pixels and gives a cell: four in an octave (640, 768, 896,
    1024, 1280 ...), in whole pitches of the tap."""
    pitch = receptive_field(tap.layers)[1]
    while True:
        quarter = 2 ** max(0, math.ceil(math.log2(side)) - 3)
        padded = -(-side // quarter) * quarter
        padded = -(-padded // pitch) * pitch
        if output_side(tap.layers, padded):
            return padded
        side = padded + 1


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


def _stride_plan(crop_shape, factor, backbone, tap, cells, padding) -> Plan:
    sides = _sides_by_stride(backbone, tap, cells, padding)
    factor = max(factor, max(crop_shape) / sides[-1])  # a stride beyond the first kernel would skip pixels
    reduced = _reduced(crop_shape, factor)
    strides = tuple(next(s for s, side in enumerate(sides, 1) if side >= n) for n in reduced)
    shape = tuple(sides[s - 1] for s in strides)
    return Plan(backbone.name, tap.name, cells, shape, strides, None, None, crop_shape, reduced, padding)


def _sides_by_stride(backbone, tap, cells, padding) -> list[int]:
    return [scan_side(backbone, tap, padding, cells, s) for s in range(1, tap.layers[0].kernel + 1)]


def programs(
    backbone: Backbone,
    cells: int,
    *,
    largest: tuple[int, int],
    tap: str | None = None,
    max_side: int | None = None,
    padding: Padding = "own",
) -> list[Plan]:
    """The different plans, hence compiled programs, of all crops from 1 x 1 to `largest` (rows, columns).

    "stride": at most kernel x kernel of the first layer, 49 for VGG-M whatever the sizes. "pool": T^2 or less with
    T = 2 n / (2 np + 1) and n the cells of the map along the longest side; one set of similar films needs few of them.
    """
    chosen = backbone.tap(tap)
    if backbone.reading == "stride":  # a plan changes where a side outgrows the one of a stride
        corners = _sides_by_stride(backbone, chosen, cells, padding)
    else:  # ... or where its map gains a cell
        pitch = receptive_field(chosen.layers)[1]
        corners = range(pitch, max(largest) + pitch, pitch)
    sides = [sorted({min(corner, side, max_side or side) for corner in corners}) for side in largest]
    made = {
        plan((rows, columns), backbone, cells, tap=tap, padding=padding): None
        for rows in sides[0]
        for columns in sides[1]
    }
    return list(made)
