"""Heat maps: the right films, the right places, and no film that may not be shown."""

import io

import numpy as np
import pytest
from matplotlib.patches import Ellipse, Rectangle
from PIL import Image

from mammojax.errors import UserError
from mammojax.images.geometry import Box, Geometry
from mammojax.report.heat_maps import MappedFilm, extremes, heat_map_figure, heat_maps


def film(record=3, *, circles=((0, 0, 0),), geometry=None, highest=(4, 1), where=None):
    """A crop of 96 x 64 pixels with a map of cells of 16 pixels."""
    cells = np.random.default_rng(record).normal(size=(6, 4))
    cells[highest] = 9
    centres = np.stack(np.meshgrid(np.arange(6), np.arange(4), indexing="ij"), -1) * 16 + 7.5
    image = np.random.default_rng(0).integers(0, 4096, (96, 64)).astype(np.uint16)
    where = np.ones((6, 4), bool) if where is None else where
    return MappedFilm(
        record, 1, -1.25, image, cells, where, centres, geometry or Geometry(), np.reshape(circles, (-1, 3))
    )


def patches(figure, kind):
    return [p for rows in figure.subfigs for axes in rows.axes for p in axes.patches if isinstance(p, kind)]


def test_the_highest_and_lowest_of_each_class_are_chosen_and_none_twice():
    scores, labels = np.array([0.1, 3, -2, 5, 4, -7, 0]), np.array([1, 0, 0, 1, 0, 0, 1])
    assert extremes(scores, labels, each=2) == {
        "positive, highest scores": [3, 0],
        "positive, lowest scores": [6],
        "negative, highest scores": [4, 1],
        "negative, lowest scores": [5, 2],
    }
    assert list(extremes(scores[labels == 0], np.zeros(4), each=1)) == [
        "negative, highest scores",
        "negative, lowest scores",
    ]


def test_the_circle_lies_where_the_original_says_through_crop_flip_and_scale():
    box = Box(top=100, left=40, height=192, width=128)
    geometry = Geometry().cropped(box).flipped(128).scaled(0.5, 0.5)
    (ellipse,) = patches(
        heat_map_figure({"": [film(circles=[(160, 60, 20)], geometry=geometry)]}, may_be_shown=True), Ellipse
    )
    # row 160 is row 60 of the box, column 60 its column 20, mirrored 107; halved with the picture's edges in place
    assert ellipse.center == pytest.approx(((107 + 0.5) / 2 - 0.5, (60 + 0.5) / 2 - 0.5))
    assert (ellipse.width, ellipse.height) == (20, 20)


def test_the_square_is_the_highest_cell_on_tissue():
    (square,) = patches(heat_map_figure({"": [film(circles=())]}, may_be_shown=True), Rectangle)
    assert square.get_bbox().extents == pytest.approx([15.5, 63.5, 31.5, 79.5])
    where = np.zeros((6, 4), bool)
    where[2, 3] = True
    (square,) = patches(heat_map_figure({"": [film(where=where)]}, may_be_shown=True), Rectangle)
    assert square.get_bbox().extents == pytest.approx([47.5, 31.5, 63.5, 47.5])


def test_a_film_is_named_by_its_number_and_score():
    figure = heat_map_figure({"positive": [film(17)]}, may_be_shown=True)
    titles = [axes.get_title(loc="left") for rows in figure.subfigs for axes in rows.axes]
    assert titles == ["record 17, log-odds \u22121.25", ""]


@pytest.mark.filterwarnings("error")
def test_the_png_is_the_same_bits_and_films_without_tissue_or_contrast_are_drawn():
    flat = film(5, where=np.zeros((6, 4), bool))
    flat.image[:] = 7
    groups = {"positive, highest scores": [film(1), film(2)], "negative, lowest scores": [flat]}
    once, again = (heat_maps(groups, may_be_shown=True) for _ in range(2))
    assert once == again and Image.open(io.BytesIO(once)).size[0] > 600


def test_films_that_may_not_be_shown_are_not():
    with pytest.raises(UserError, match="may not be shown"):
        heat_maps({"positive": [film()]}, may_be_shown=False)
