"""Rasters that are turned, of several depths, or named for what they are not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from mammojax.datasets.contents import Contents
from mammojax.images.reading.any_file import read_mammogram


def file_of(pixels: np.ndarray, form: str, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    options = {"quality": 100} if form == "JPEG" else {}
    Image.fromarray(pixels).save(buffer, form, exif=exif.tobytes(), **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def gradient() -> np.ndarray:
    """uint8[24, 16] in which every corner is another grey, smooth enough for JPEG."""
    rows, columns = np.mgrid[:24, :16]
    return (4 * rows + 9 * columns).astype(np.uint8)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 10))
def test_a_picture_lies_as_viewers_show_it_and_says_so(gradient, form, orientation):
    found = read_mammogram(file_of(gradient, form, orientation), "x")
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(file_of(gradient, "PNG", orientation))))
    assert found.pixels.shape == np.asarray(shown).shape
    # one grey level for JPEG's rounding
    assert np.abs(found.pixels.astype(int) - np.asarray(shown)).max() <= (1 if form == "JPEG" else 0)
    assert (f"turned by Orientation {orientation}" in found.rules) == (1 < orientation < 9)


@pytest.mark.parametrize("depth", [8, 16])
def test_16_bit_pictures_are_turned_alike_and_a_broken_exif_turns_nothing(gradient, depth):
    pixels = gradient.astype(np.uint16) * 200 if depth == 16 else gradient
    for form in ("PNG", "TIFF"):
        assert (read_mammogram(file_of(pixels, form, 6), "x", depth=16).pixels == np.rot90(pixels, -1)).all()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert (read_mammogram(buffer.getvalue(), "x", depth=16).pixels == pixels).all()


def pgm(pixels: np.ndarray, largest: int = 65535) -> bytes:
    return b"P5 %d %d %d\n" % (*pixels.shape[::-1], largest) + pixels.astype(">u2").tobytes()


def test_pgm_of_unstated_depth_has_a_say_in_the_depth_of_the_set(gradient, tmp_path):
    files = {"a": pgm(gradient * np.uint16(10)), "b": pgm(gradient * np.uint16(4), 8000)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)

    def depth(*names):
        contents = Contents(tmp_path / "known.json")
        return contents.depth([(tmp_path / n, n) for n in names], workers=0, track=lambda it, **_: it)

    assert (depth("a"), depth("b"), depth("a", "b")) == (12, 0, 12)


def test_a_picture_far_below_the_depth_of_its_set_is_said(gradient):
    dark, bright = (pgm(gradient * np.uint16(k)) for k in (10, 200))
    said = [
        any("of another depth" in w for w in read_mammogram(d, "x", depth=16).warnings)
        for d in (dark, bright)
    ]
    assert said == [True, False]


def test_a_name_that_says_magnification_is_said(gradient):
    data = file_of(gradient, "PNG")
    assert any("name says magnification" in w for w in read_mammogram(data, "mag/L_CC_MAG1.png").warnings)
    assert not read_mammogram(data, "mag/L_CC.png").warnings
