"""Films whose air is white."""

import dataclasses
import io
import tarfile

import numpy as np
import pydicom
import pytest

from mammojax.images.breast import crop_breast
from mammojax.images.mammogram import Mammogram
from mammojax.images.polarity import looks_inverted
from mammojax.images.reading.any_file import read_mammogram
from mammojax.images.reading.dicom import read_dicom
from mammojax.phantom.dicom import _dataset
from mammojax.phantom.screening_set import phantom_patient


@pytest.fixture(scope="module")
def films():
    return [
        view
        for k in range(3)
        for view in phantom_patient(3, k, malignant=True, height=384, width=288, difficulty=0.5)
    ]


def test_phantoms_do_not_look_inverted_and_their_negatives_do(films):
    # made with film bases, letters, bars and noise; as they are shown, denser is brighter
    shown = [crop.pixels for crop in map(_shown, films)]
    assert not any(map(looks_inverted, shown))
    assert all(looks_inverted(pixels.max() - pixels) for pixels in shown)


def _shown(view) -> Mammogram:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, _dataset(view, 3, 0), enforce_file_format=True)
    return read_dicom(buffer.getvalue())


def test_an_inverted_film_is_kept_with_a_warning(films):
    film = _shown(films[0])
    negative = dataclasses.replace(film, pixels=(film.pixels.max() - film.pixels).astype(np.uint16))
    said = [any("looks inverted" in w for w in crop_breast(one).warnings) for one in (film, negative)]
    assert said == [False, True]


def test_a_breast_that_fills_the_frame_does_not_look_inverted():
    noise = np.random.default_rng(0).integers(1000, 4000, (300, 200)).astype(np.uint16)
    assert not looks_inverted(noise) and not looks_inverted(4000 - noise)
    assert not looks_inverted(np.full((9, 7), 5, np.uint16))


@pytest.mark.slow
def test_no_mias_film_looks_inverted_nor_holds_two_breasts_and_most_negatives_do(shared):
    found = []
    with tarfile.open(shared / "data/mias/all-mias.tar.gz") as tar:
        for member in (m for m in tar if m.name.endswith(".pgm")):
            film = read_mammogram(tar.extractfile(member).read(), member.name)
            warnings = " ".join(crop_breast(film).warnings)
            assert "inverted" not in warnings and "two breasts" not in warnings, member.name
            found.append(looks_inverted(255 - film.pixels))
    # the breasts of the others leave less than two fifths of the frame to the air
    assert len(found) == 196 and sum(found) >= 180
