"""Where it looks: held-out films with their maps of cell scores, and the annotated circle where there is one.

Films are named by the record's number. Nothing is drawn of a set whose films may not be shown.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle
from matplotlib.patheffects import withStroke

from mammojax.errors import UserError
from mammojax.images.geometry import Geometry

_DOTS = 160  # an inch
_WIDTH = 1.55  # inches a picture
_MAP = "inferno"  # its lightness rises throughout: read in grey, and with any colour vision


@dataclass(frozen=True, eq=False)
class MappedFilm:
    """One held-out film with its map.

    record: its number. label: 1 or 0. score: the film's calibrated log-odds. image: [h, w], the crop, any range. cells:
    float[r, c], larger is more suspicious; where: bool[r, c], tissue. centres: float64[r, c, 2], (row, column) of the cells
    in pixels of the crop. geometry: from the crop to the original. circles: float64[m, 3], (row, column, radius) in pixels
    of the original.
    """

    record: int
    label: int
    score: float
    image: np.ndarray
    cells: np.ndarray
    where: np.ndarray
    centres: np.ndarray
    geometry: Geometry
    circles: np.ndarray


def extremes(scores: np.ndarray, labels: np.ndarray, *, each: int = 2) -> dict[str, list[int]]:
    """What to draw: heading -> places of the `each` highest and lowest scores of each class, the most extreme first.

    Equal scores are taken in their order; a film is named once, under its highest heading.
    """
    scores, labels = np.asarray(scores, float), np.asarray(labels)
    chosen: dict[str, list[int]] = {}
    taken: set[int] = set()
    for label, name in ((1, "positive"), (0, "negative")):
        places = np.flatnonzero(labels == label)
        for sign, which in ((-1, "highest"), (1, "lowest")):
            order = [
                int(k)
                for k in places[np.argsort(sign * scores[places], kind="stable")]
                if int(k) not in taken
            ]
            chosen[f"{name}, {which} scores"] = order[:each]
            taken.update(order[:each])
    return {heading: places for heading, places in chosen.items() if places}


def heat_maps(groups: Mapping[str, Sequence[MappedFilm]], *, may_be_shown: bool) -> bytes:
    """PNG of `heat_map_figure`, the same bits for the same films."""
    buffer = io.BytesIO()
    heat_map_figure(groups, may_be_shown=may_be_shown).savefig(
        buffer, format="png", dpi=_DOTS, metadata={"Software": None}
    )
    return buffer.getvalue()


def overlay(film: MappedFilm) -> bytes:
    """PNG of one film beside itself with its map, drawn as in `heat_map_figure`: for the owner of the film."""
    figure = Figure(figsize=(2 * 3.2, 3.2 * film.image.shape[0] / film.image.shape[1]), layout="constrained")
    FigureCanvasAgg(figure)
    plain, mapped = figure.subplots(1, 2)
    for axes in (plain, mapped):
        axes.set_axis_off()
        _draw_film(axes, film)
    _draw_map(mapped, film)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS, metadata={"Software": None})
    return buffer.getvalue()


def heat_map_figure(groups: Mapping[str, Sequence[MappedFilm]], *, may_be_shown: bool) -> Figure:
    """A row for each group (heading -> films), each film beside itself with its map.

    A map's colours run from its own lowest to its own highest tissue cell. The square is the highest cell, the ellipse the
    annotated circle. may_be_shown: whether the terms of the data set let its films be shown.
    Raises UserError if not may_be_shown.
    """
    if not may_be_shown:
        raise UserError(
            "films of this data set may not be shown, expected one whose terms allow it; "
            "draw heat maps of the phantom or of mini-MIAS"
        )
    columns = max(map(len, groups.values()))
    tallest = max(f.image.shape[0] / f.image.shape[1] for films in groups.values() for f in films)
    height = _WIDTH * min(tallest, 2.2) + 0.5
    figure = Figure(figsize=(2 * _WIDTH * columns + 0.2, height * len(groups)), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subfigures(len(groups), 1, squeeze=False)[:, 0]
    with matplotlib.rc_context({"font.size": 8}):
        for row, (heading, films) in zip(rows, groups.items()):
            row.suptitle(heading, fontsize=9, fontweight="bold")
            panels = row.subplots(1, 2 * columns, squeeze=False)[0]
            for axes in panels:
                axes.set_axis_off()
            for k, film in enumerate(films):
                plain, mapped = panels[2 * k : 2 * k + 2]
                _draw_film(plain, film)
                _draw_film(mapped, film)
                _draw_map(mapped, film)
                score = f"{film.score:+.2f}".replace("-", "\u2212")
                plain.set_title(f"record {film.record}, log-odds {score}", loc="left", fontsize=8)
    return figure


def _draw_film(axes, film: MappedFilm) -> None:
    """The crop in grey, from the darkest to all but the brightest thousandth of it."""
    height, width = film.image.shape
    step = max(1, int(height / (_WIDTH * 2.2 * _DOTS)))
    small = film.image[: height // step * step, : width // step * step]
    small = small.reshape(height // step, step, width // step, step).mean(axis=(1, 3))
    white = np.quantile(small, 0.999)
    extent = (-0.5, small.shape[1] * step - 0.5, small.shape[0] * step - 0.5, -0.5)
    axes.imshow(small, cmap="gray", vmin=small.min(), vmax=max(white, small.min() + 1e-9), extent=extent)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _draw_map(axes, film: MappedFilm) -> None:
    """The map over the film, its highest cell, and the circles."""
    centres = np.asarray(film.centres, float)
    side = [_pitch(centres[..., axis], axis) for axis in (0, 1)]
    (top, left), (bottom, right) = centres[0, 0], centres[-1, -1]
    extent = (left - side[1] / 2, right + side[1] / 2, bottom + side[0] / 2, top - side[0] / 2)
    cells = np.ma.masked_where(~film.where, film.cells)
    limits = (axes.get_xlim(), axes.get_ylim())
    if film.where.any():
        scale = Normalize(cells.min(), max(cells.max(), cells.min() + 1e-9))
        axes.imshow(cells, cmap=_MAP, norm=scale, alpha=0.6, extent=extent, interpolation="nearest")
        row, column = centres[np.unravel_index(np.argmax(cells.filled(-np.inf)), cells.shape)]
        corner = (column - side[1] / 2, row - side[0] / 2)
        axes.add_patch(_outlined(Rectangle(corner, side[1], side[0], fill=False)))
    circles = np.asarray(film.circles, float).reshape(-1, 3)
    size = 2 * circles[:, 2:] / np.abs(film.geometry.scale)
    for (row, column), (high, wide) in zip(film.geometry.from_original(circles[:, :2]), size):
        axes.add_patch(_outlined(Ellipse((column, row), wide, high, fill=False, linestyle=(0, (3, 2)))))
    axes.set(xlim=limits[0], ylim=limits[1])


def _pitch(positions: np.ndarray, axis: int) -> float:
    """Pixels from one cell to the next; of a single row or column, twice the way to the edge."""
    if positions.shape[axis] > 1:
        return float(np.diff(positions, axis=axis).flat[0])
    return float(2 * positions.flat[0] + 1)


def _outlined(patch):
    """White on black: seen on any ground."""
    patch.set(edgecolor="white", linewidth=1.0)
    patch.set_path_effects([withStroke(linewidth=2.4, foreground="black")])
    return patch
