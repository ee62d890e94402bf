"""The merged graph of scanning and classification, drawn from the sizes of a plan (Figure 2 of the paper)."""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Polygon, Rectangle

from mammojax.inspect.layer_sizes import WINDOW_MAXIMA, LayerSize
from mammojax.models.plans import Plan

# Okabe and Ito's colours: told apart with any colour vision; the layers' names say the same
_COLOURS = {
    "pixels": "#999999",
    "convolution": "#56B4E9",
    "maxima": "#E69F00",
    "representation": "#D55E00",
    "fully connected": "#009E73",
}
_WORDS = "#555555"
_WIDTH = 7.5  # inches; 1200 pixels at 160 dots an inch
_MARGIN, _LABELS = 0.12, 0.66  # inches: at the edges, and for the names of the lines below the slabs
_LINE = 0.155  # inches a line of the table
_MOST = 14  # slabs side by side that can still be labelled
_FIELDS = ("kernel", "stride", "rows", "columns", "channels")


@dataclass(frozen=True)
class _Slab:
    """One map: what is written below it, and its size. picture: what is drawn instead, float[h, w] in 0..1."""

    name: str
    kind: str
    kernel: str
    stride: str
    output: tuple[int, int]
    channels: int
    step: tuple | None = None  # kernel and stride as numbers
    picture: np.ndarray | None = None

    @property
    def height(self) -> float:
        return 0.1 * math.log2(self.output[0] + 1)

    @property
    def depth(self) -> float:
        return 0.024 * math.log2(self.output[1] + 1)

    @property
    def width(self) -> float:
        if self.picture is not None:
            return min(0.9, self.height * self.output[1] / self.output[0])
        return 0.03 + 0.27 * math.sqrt(self.channels / 4096)


def graph_figure(
    chosen: Plan,
    scanning: Sequence[LayerSize],
    classifier: Sequence[LayerSize],
    picture: np.ndarray | None = None,
) -> Figure:
    """From the crop to the score: a slab a layer, its height the logarithm of the rows, its depth that of the columns,
    its width the root of the channels.

    scanning, classifier: the layers of both networks (`layer_sizes`). picture: the crop to show, float[h, w] in 0..1.
    Layers that read one place at a time and keep all sizes are named with the slab before them; a network of more
    layers than can stand side by side is drawn with one slab for layers in a row that give the same.
    """
    above = _entry(chosen, picture) + _fitted(_slabs(scanning))
    below = _fitted(_classifier_slabs(chosen, scanning[-1].channels, classifier))
    tall = [max(slab.height + slab.depth for slab in row) for row in (above, below)]
    lines = [max(slab.name.count("\n") for slab in row) + 1 for row in (above, below)]
    text = [(len(_FIELDS) + n) * _LINE + 0.1 for n in lines]
    head, heading, link, foot = 0.58, 0.3, 0.42, 0.5
    height = head + 2 * heading + sum(tall) + sum(text) + link + foot
    with matplotlib.rc_context({"font.size": 7.5, "svg.hashsalt": "mammojax"}):
        figure = Figure(figsize=(_WIDTH, height), facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, _WIDTH), ylim=(0, height))
        axes.axis("off")
        _title(axes, chosen, height)
        millions = [sum(size.parameters for size in sizes) / 1e6 for sizes in (scanning, classifier)]
        top = height - head
        name = f"Scanning network {chosen.backbone} up to {chosen.tap}, {millions[0]:.1f} million parameters"
        axes.text(_MARGIN, top - 0.1, name, weight="bold", fontsize=8.5, va="center")
        first = _row(axes, above, top - heading - tall[0], lines[0])
        seam = top - heading - tall[0] - text[0] - link / 2
        top = seam - link / 2
        name = f"Classifier, {millions[1]:.1f} million parameters"
        axes.text(_MARGIN, top - 0.1, name, weight="bold", fontsize=8.5, va="center")
        second = _row(axes, below, top - heading - tall[1], lines[1])
        _link(axes, first[-1], second[0], seam, f"{chosen.cells} × {chosen.cells} × {scanning[-1].channels}")
        _legend(axes, foot - 0.12)
    return figure


def _slabs(sizes: Sequence[LayerSize]) -> list[_Slab]:
    slabs: list[_Slab] = []
    for size in sizes:
        step = (size.kernel, size.stride)
        last = slabs[-1] if slabs else None
        same = last and (last.output, last.channels) == (size.output, size.channels)
        if same and step == ((1, 1), (1, 1)) and not size.parameters:
            slabs[-1] = replace(last, name=f"{last.name}\n{size.name}")
            continue
        kind = "convolution"
        if size.name.startswith("pool") or size.name == WINDOW_MAXIMA:
            kind = "maxima"
        elif size.output == (1, 1) and size.kernel == (1, 1):
            kind = "fully connected"
        name = size.name.replace(" ", "\n")
        slabs.append(
            _Slab(name, kind, _pair(size.kernel), _pair(size.stride), size.output, size.channels, step)
        )
    return slabs


def _fitted(slabs: list[_Slab]) -> list[_Slab]:
    """One slab for layers in a row that give the same, if they are too many."""
    if len(slabs) <= _MOST:
        return slabs
    found: list[_Slab] = []
    for slab in slabs:
        last = found[-1] if found else None
        same = last and (last.output, last.channels) == (slab.output, slab.channels)
        if same and slab.step == (last.step[0], (1, 1)):
            first = last.name.split("\n")[0]
            found[-1] = replace(last, name=f"{first}\nto {re.sub('^[a-z]+', '', slab.name)}")
        else:
            found.append(slab)
    return found


def _entry(chosen: Plan, picture: np.ndarray | None) -> list[_Slab]:
    """The crop, and the pixels that the network is given."""
    if picture is None:
        picture = np.full((2, 2), 0.6)
    slabs = [_Slab("crop", "pixels", "", "", chosen.crop_shape, 1, picture=picture)]
    if chosen.input_shape != chosen.crop_shape:
        reduced = chosen.reduced_shape != chosen.crop_shape
        padded = chosen.input_shape != chosen.reduced_shape
        name = "\n".join(word for word, done in (("reduced", reduced), ("padded", padded)) if done)
        stride = f"{chosen.reduction[0]:.2f}" if reduced else ""
        slabs.append(_Slab(name, "pixels", "mean" if reduced else "", stride, chosen.input_shape, 1))
    return slabs


def _classifier_slabs(chosen: Plan, channels: int, classifier: Sequence[LayerSize]) -> list[_Slab]:
    cells = (chosen.cells, chosen.cells)
    first = LayerSize("representation", (1, 1), (1, 1), "none", cells, channels, cells)
    slabs = _slabs([first, *classifier])
    return [replace(slabs[0], kind="representation", kernel="", stride=""), *slabs[1:]]


def _pair(values: tuple[int, int]) -> str:
    return f"{values[0]} × {values[1]}"


def _title(axes, chosen: Plan, height: float) -> None:
    rows, columns = chosen.crop_shape
    n = chosen.cells
    text = f"A crop of {rows} × {columns} pixels, read as {n} × {n} cells and scored in one graph"
    axes.text(_MARGIN, height - 0.19, text, weight="bold", fontsize=10, va="center")
    size = " × ".join(f"{value:.2f}" for value in chosen.pixel_size())
    text = (
        f"{chosen.coverage:.1%} of its pixels are read; a pixel of the network is {size} pixels of the crop"
    )
    axes.text(_MARGIN, height - 0.4, text, fontsize=8, color=_WORDS, va="center")


def _row(axes, slabs: list[_Slab], base: float, lines: int) -> list[tuple[float, float, float]]:
    """Draws a row of slabs on the line y = base with its table; (left, right, middle height) of each."""
    left = _MARGIN + _LABELS
    shares = [_share(slab) for slab in slabs]
    unit = min((_WIDTH - _MARGIN - left) / sum(shares), 0.72)
    for line, field in enumerate(_FIELDS):
        axes.text(_MARGIN, base - (lines + line + 0.6) * _LINE - 0.06, field, color=_WORDS, va="center")
    places = []
    for slab, share in zip(slabs, shares):
        middle = left + unit * share / 2
        left += unit * share
        places.append(_draw(axes, slab, middle, base))
        words = (slab.kernel, slab.stride, *map(str, slab.output), str(slab.channels))
        names = slab.name.split("\n")
        for line, word in enumerate([*names, *[""] * (lines - len(names)), *words]):
            look = {"weight": "bold" if line < lines else "normal", "fontsize": 7 if unit > 0.48 else 6}
            axes.text(middle, base - (line + 0.6) * _LINE - 0.06, word, ha="center", va="center", **look)
    for (_, right, y), (next_left, *_) in itertools.pairwise(places):
        if next_left - right > 0.09:
            _arrow(axes, [(right + 0.02, y), (next_left - 0.02, y)])
    return places


def _share(slab: _Slab) -> float:
    """Of the row's width, 1 for a usual slab: the crop and long names take more."""
    if slab.picture is not None:
        return 1.0 + slab.width
    return max(1.0, max(map(len, slab.name.split("\n"))) / 8)


def _draw(axes, slab: _Slab, middle: float, base: float) -> tuple[float, float, float]:
    width, height, depth = slab.width, slab.height, slab.depth
    if slab.picture is not None:
        left = middle - width / 2
        extent = (left, left + width, base, base + height)
        axes.imshow(slab.picture, cmap="gray", vmin=0, vmax=1, extent=extent, aspect="auto", zorder=2)
        axes.add_patch(Rectangle((left, base), width, height, fill=False, linewidth=0.6, zorder=3))
        return left, left + width, base + 0.06
    colour = np.asarray(to_rgb(_COLOURS[slab.kind]))
    left = middle - (width + depth) / 2
    right, top = left + width, base + height
    faces = (
        ([(left, base), (right, base), (right, top), (left, top)], colour),
        (
            [(left, top), (right, top), (right + depth, top + depth), (left + depth, top + depth)],
            1 - 0.55 * (1 - colour),
        ),
        (
            [(right, base), (right + depth, base + depth), (right + depth, top + depth), (right, top)],
            0.7 * colour,
        ),
    )
    for corners, face in faces:
        axes.add_patch(Polygon(corners, facecolor=face, edgecolor="black", linewidth=0.5, zorder=2))
    return left, right + depth, base + 0.06


def _arrow(axes, points: list[tuple[float, float]], colour: str = "#777777") -> None:
    start, end = points[-2:]
    for a, b in itertools.pairwise(points[:-1]):
        axes.plot(*zip(a, b), color=colour, linewidth=1.2, solid_capstyle="round", zorder=1)
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=6,
            color=colour,
            linewidth=1.2 if len(points) > 2 else 0.8,
            shrinkA=0,
            shrinkB=0,
            zorder=1,
        )
    )


def _link(axes, last, first, seam: float, size: str) -> None:
    """The seam: from the end of the first network round to the start of the second."""
    edge, start = _WIDTH - _MARGIN / 2, _MARGIN / 2
    points = [(last[1] + 0.03, last[2]), (edge, last[2]), (edge, seam), (start, seam), (start, first[2])]
    _arrow(axes, [*points, (first[0] - 0.03, first[2])], _COLOURS["representation"])
    text = f"the seam: the representation of {size} numbers, stored for training, or passed on as one graph"
    box = {"facecolor": "white", "edgecolor": "none", "pad": 2}
    axes.text(_WIDTH / 2, seam, text, ha="center", va="center", fontsize=8, bbox=box, zorder=4)


def _legend(axes, y: float) -> None:
    text = "A slab is a map: its height the logarithm of the rows, its depth that of the columns, its width the root of the channels."
    axes.text(_MARGIN, y - 0.22, text, va="center", color=_WORDS, fontsize=7)
    x = _MARGIN
    for name, colour in _COLOURS.items():
        axes.add_patch(Rectangle((x, y - 0.05), 0.1, 0.1, facecolor=colour, edgecolor="black", linewidth=0.5))
        axes.text(x + 0.15, y, name, va="center", fontsize=7)
        x += 0.4 + 0.055 * len(name)
