"""What the cells of a plan see, drawn on the crop: all windows, and neighbours that overlap."""

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PatchCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image

from mammojax.models.plans import Plan

# Okabe and Ito's colours that stand out from tissue, background and paper; line styles tell them apart as well
_LOOKS = (("#56B4E9", "-"), ("#E69F00", (0, (4, 1.5))), ("#CC79A7", (0, (1.5, 1))), ("#009E73", "-"))
_ALL, _UNREAD = "#56B4E9", "#D55E00"
_WORDS = "#555555"
_WIDTH, _TALLEST, _KEY = (
    7.5,
    4.9,
    2.4,
)  # inches: of the figure, of the crop at most, and of the words beside it
_MARGIN, _GAP, _HEAD, _LINE = 0.12, 0.16, 0.78, 0.17
_BAR = 20  # mm


def shown(image: np.ndarray, side: int = 900) -> np.ndarray:
    """float32[h, w] in 0..1: a crop, uint16, reduced to `side` pixels at most by area averaging, its brightest
    thousandth cut."""
    shrink = max(1.0, max(image.shape) / side)
    size = tuple(max(1, round(n / shrink)) for n in image.shape[::-1])
    small = np.asarray(Image.fromarray(image.astype(np.float32)).resize(size, Image.Resampling.BOX))
    return np.clip(small / max(np.quantile(small, 0.999), 1), 0, 1)


def emphasised(chosen: Plan) -> list[tuple[int, int]]:
    """(row, column) of the cells that are drawn apart: one in the middle of the crop, two neighbours, and the first."""
    windows = chosen.cell_windows()
    middles = ((windows[:, 0, 0] + windows[:, 0, 2]) / 2, (windows[0, :, 1] + windows[0, :, 3]) / 2)
    row, column = (
        int(np.abs(middle[:-1] - side / 2).argmin()) if len(middle) > 1 else 0
        for middle, side in zip(middles, chosen.crop_shape)
    )
    wanted = [(row, column), (row, column + 1), (row + 1, column), (0, 0)]
    return [cell for cell in dict.fromkeys(wanted) if max(cell) < chosen.cells]


def windows_figure(image: np.ndarray, chosen: Plan, spacing: tuple[float, float] | None = None) -> Figure:
    """The crop twice: with the windows of all cells, and with those of three neighbours and of a corner cell.

    image: uint16[h, w], of the plan's crop size. spacing: mm a pixel, rows and columns; None draws no scale. Pixels that
    no cell depends on are shaded. Windows are cut to the crop.
    """
    rows, columns = chosen.crop_shape
    across = (_WIDTH - _KEY - 2 * _MARGIN - 2 * _GAP) / 2
    scale = min(across / columns, _TALLEST / rows)  # inches a pixel
    tall = max(rows * scale, 3.2)  # the words need some room
    width, height = columns * scale, _HEAD + tall + _MARGIN
    windows, picture, apart = chosen.cell_windows(), shown(image), emphasised(chosen)
    unread = ~(chosen.seen(0)[:, None] & chosen.seen(1))
    with matplotlib.rc_context({"font.size": 8, "svg.hashsalt": "mammojax"}):
        figure = Figure(figsize=(_WIDTH, height), facecolor="white")
        FigureCanvasAgg(figure)
        place = _Inches(figure)
        place.text(_MARGIN, 0.17, _title(chosen), weight="bold", fontsize=9)
        place.text(_MARGIN, 0.37, _account(chosen, spacing), color=_WORDS, fontsize=7.5)
        panels = []
        for i, name in enumerate((f"All {chosen.cells**2} windows", "Single cells")):
            left = _MARGIN + i * (width + _GAP)
            place.text(left, _HEAD - 0.13, name, weight="bold")
            axes = place.axes(left, _HEAD, width, rows * scale)
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1, extent=(0, columns, rows, 0), aspect="auto")
            axes.set(xticks=[], yticks=[], xlim=(0, columns), ylim=(rows, 0))
            if unread.any():
                _shade(axes, unread)
            panels.append(axes)
        outlines = PatchCollection([_rectangle(window) for window in windows.reshape(-1, 4)])
        outlines.set(facecolor="none", edgecolor=_ALL, linewidth=0.45, alpha=0.75)
        panels[0].add_collection(outlines)
        if spacing is not None:
            _scale_bar(panels[1], chosen, spacing)
        left = _MARGIN + 2 * (width + _GAP)
        for i, (cell, (colour, line)) in enumerate(zip(apart, _LOOKS)):
            look = {
                "edgecolor": colour,
                "linestyle": line,
                "linewidth": 1.8,
                "facecolor": "none",
                "clip_on": False,
            }
            panels[1].add_patch(_rectangle(windows[cell], **look))
            y = _HEAD + 0.1 + i * _LINE
            place.line(left, left + 0.3, y, colour, line)
            place.text(left + 0.38, y, f"cell ({cell[0]}, {cell[1]})")
        y = _HEAD + 0.3 + len(apart) * _LINE
        for i, text in enumerate(_facts(chosen, windows, spacing, unread.any())):
            place.text(left, y + i * _LINE, text)
    return figure


class _Inches:
    """A figure in inches from its top left corner."""

    def __init__(self, figure: Figure):
        self.figure = figure
        self.width, self.height = figure.get_size_inches()

    def text(self, x: float, y: float, words: str, **look) -> None:
        self.figure.text(x / self.width, 1 - y / self.height, words, va="center", **look)

    def axes(self, left: float, top: float, width: float, height: float):
        bottom = self.height - top - height
        return self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height)
        )

    def line(self, left: float, right: float, y: float, colour: str, style) -> None:
        ends = ([left / self.width, right / self.width], [1 - y / self.height] * 2)
        self.figure.add_artist(Line2D(*ends, color=colour, linestyle=style, linewidth=2.2))


def _title(chosen: Plan) -> str:
    n = chosen.cells
    if chosen.first_strides:
        rows, columns = chosen.first_strides
        how = f"first layer's strides {rows} × {columns}"
    else:
        size, step = (" × ".join(map(str, pair)) for pair in (chosen.window, chosen.step))
        how = f"maxima over {size} cells every {step}"
    return f"{chosen.backbone} {chosen.tap} reads {n} × {n} windows: {how}"


def _account(chosen: Plan, spacing) -> str:
    rows, columns = chosen.crop_shape
    size = " × ".join(f"{side:.2f}" for side in chosen.pixel_size())
    mm = ""
    if spacing is not None:
        mm = f" ({' × '.join(f'{side:.3f}' for side in chosen.pixel_size(spacing))} mm)"
    return (
        f"crop of {rows} × {columns} pixels, {chosen.coverage:.1%} of them read; "
        f"a pixel of the network is {size} of them{mm}"
    )


def _facts(chosen: Plan, windows: np.ndarray, spacing, unread: bool) -> list[str]:
    """What the picture shows, in numbers, as short lines."""
    top, left, bottom, right = np.moveaxis(windows, -1, 0)
    size = np.ceil(np.round([(bottom - top).max(), (right - left).max()], 6))  # pixels it touches
    lines = _measure("A window holds", tuple(size), spacing)
    if chosen.cells > 1:
        # the edges of windows that are cut do not move
        rows = max(np.diff(edge, axis=0).max() for edge in (top, bottom))
        columns = max(np.diff(edge, axis=1).max() for edge in (left, right))
        lines += ["", *_measure("The next one lies", (rows, columns), spacing)]
        lines.append("further down and right.")
    lines += [
        "",
        "Each thin line is an edge of a row",
        "or of a column of windows. They are",
        "drawn up to the crop's edge.",
    ]
    if unread:
        lines += ["", "Red: pixels that no cell sees."]
    return lines


def _measure(words: str, pixels: tuple[float, float], spacing) -> list[str]:
    lines = [words, f"{pixels[0]:.0f} × {pixels[1]:.0f} pixels"]
    if spacing is not None:
        lines[1] += " ({:.0f} × {:.0f} mm)".format(*(n * mm for n, mm in zip(pixels, spacing)))
    return lines


def _rectangle(window: np.ndarray, **look) -> Rectangle:
    top, left, bottom, right = window
    return Rectangle((left, top), right - left, bottom - top, **look)


def _shade(axes, unread: np.ndarray) -> None:
    rows, columns = unread.shape
    axes.imshow(
        np.where(unread, 1.0, np.nan),
        cmap=ListedColormap([_UNREAD]),
        alpha=0.6,
        extent=(0, columns, rows, 0),
        aspect="auto",
        interpolation="nearest",
    )


def _scale_bar(axes, chosen: Plan, spacing: tuple[float, float]) -> None:
    rows, columns = chosen.crop_shape
    length = _BAR / spacing[1]
    end, y = 0.96 * columns, 0.97 * rows
    axes.plot([end - length, end], [y, y], color="black", linewidth=4.5, solid_capstyle="butt")
    axes.plot([end - length, end], [y, y], color="white", linewidth=2.5, solid_capstyle="butt")
    text = axes.text(
        end - length / 2, y - 0.012 * rows, f"{_BAR} mm", color="white", ha="center", va="bottom"
    )
    text.set_path_effects([patheffects.withStroke(linewidth=2, foreground="black")])
