"""JPEG copies of public sets: read as what they are, 8 bits and lossy, or rejected with a reason."""

import io

import numpy as np
import pytest
from PIL import Image

from mammojax.images.mammogram import Rejected
from mammojax.images.reading.any_file import read_mammogram


def smooth(shape=(64, 48)) -> np.ndarray:
    """uint8[h, w]: a picture that JPEG keeps well."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows * 2 + columns).astype(np.uint8)


def jpeg(pixels, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **{"quality": 95} | options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_grey_is_read_within_the_coding_error_and_the_loss_is_said(options):
    found = read_mammogram(jpeg(smooth(), **options), "20586908_6c613a14b80a8591_MG_R_CC_ANON.jpg")
    assert np.abs(found.pixels.astype(int) - smooth()).max() <= 3  # quality 95 of a smooth ramp
    assert (found.bits, found.laterality, found.view) == (8, "R", "CC")
    assert any("lossy and 8 bits" in warning for warning in found.warnings)


def test_grey_saved_in_colours_is_read_and_colours_are_not():
    alike = np.repeat(smooth()[..., None], 3, axis=2)
    found = read_mammogram(jpeg(alike), "x.jpg")
    assert np.abs(found.pixels.astype(int) - smooth()).max() <= 4
    coloured = alike.copy()
    coloured[:32, :, 0] = 255
    with pytest.raises(Rejected, match="colour JPEG"):
        read_mammogram(jpeg(coloured), "x.jpg")


def test_damage_that_can_be_seen_is_a_rejection():
    data = jpeg(smooth())
    for cut in (3, 20, len(data) // 2, len(data) - 2):
        with pytest.raises(Rejected):
            read_mammogram(data[:cut], "x.jpg")
    scan = data.index(b"\xff\xda")
    with pytest.raises(Rejected, match="scans"):
        read_mammogram(data[:scan] + b"\xff\xda\0\2" * 70 + data[scan:], "x.jpg")
    frame = data.index(b"\xff\xc0")
    huge = data[: frame + 5] + b"\xff\xff\xff\xff" + data[frame + 9 :]
    with pytest.raises(Rejected, match="65535 x 65535 pixels are declared"):
        read_mammogram(huge, "x.jpg")
