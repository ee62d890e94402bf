"""Contact sheets: pages, their order, and that box and outline are where they should be."""

import numpy as np
from PIL import Image

from mammojax.datasets.sheets import contact_sheet
from mammojax.images.geometry import Box


def film(height=300, width=200, bits=12):
    return np.random.default_rng(0).integers(0, 2**bits, (height, width)).astype(np.uint16)


def test_films_go_to_as_many_pages_as_they_need(tmp_path):
    films = ((film(), 12, None, None, f"folder/film {i}") for i in range(9))
    pages = contact_sheet(films, tmp_path / "sheets", columns=2, rows=2)
    assert [p.name for p in pages] == ["sheet_001.png", "sheet_002.png", "sheet_003.png"]
    sizes = {Image.open(p).size for p in pages}
    assert len(sizes) == 1


def test_no_films_give_no_pages(tmp_path):
    assert contact_sheet([], tmp_path) == []


def test_box_and_outline_are_drawn_where_they_lie(tmp_path):
    pixels = np.zeros((400, 400), np.uint16)
    mask = np.zeros((400, 400), bool)
    mask[100:300, 200:380] = True
    (page,) = contact_sheet([(pixels, 12, Box(80, 180, 240, 220), mask, "a")], tmp_path, columns=1, rows=1)
    drawn = np.asarray(Image.open(page).convert("RGB")).astype(int)[2:202, 2:202]  # half the size of the film
    yellow = np.argwhere((drawn[..., 0] > 200) & (drawn[..., 2] < 50))
    blue = np.argwhere((drawn[..., 2] > 200) & (drawn[..., 0] < 50))
    np.testing.assert_allclose([yellow.min(0), yellow.max(0)], [(40, 90), (159, 199)], atol=1)
    np.testing.assert_allclose([blue.min(0), blue.max(0)], [(50, 100), (149, 189)], atol=1)


def test_films_of_any_shape_and_depth_are_drawn(tmp_path):
    films = [
        (film(h, w, bits), bits, Box(0, 0, h, w), np.ones((h, w), bool), "x" * 90)
        for h, w, bits in ((1, 1, 8), (5, 3000, 16), (4000, 7, 14), (90, 60, 8))
    ]
    assert len(contact_sheet(films, tmp_path)) == 1
