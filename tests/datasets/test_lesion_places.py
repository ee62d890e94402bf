"""Annotated circles lie on the lesion in the crop, whichever way it was cut and turned, or are not there."""

import plistlib

import numpy as np
import pytest
from distributions import dicom, film
from PIL import Image

from mammojax.datasets.prepare import prepare
from mammojax.images.geometry import Geometry

TABLE = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads\n"
PLACE = (20, 6)  # row, and column from the chest wall, of a film of 48 x 32


def release(tmp_path, *, points):
    """INbreast of two films, left and right, with a bright spot at `PLACE`, and contours of these points (row, column)."""
    text = TABLE
    for number, side in ((20586908, "L"), (20586934, "R")):
        pixels = film(number % 97, "L")
        pixels[PLACE[0] - 1 : PLACE[0] + 2, PLACE[1] - 1 : PLACE[1] + 2] = 4095
        pixels = pixels if side == "L" else pixels[:, ::-1].copy()
        path = tmp_path / "set" / "AllDICOMs" / f"{number}_{'a' * 16}_MG_{side}_CC_ANON.dcm"
        dicom(path, 0, side, PixelData=pixels.tobytes())
        text += f"removed;removed;{side};CC;201001;{number};2;{5 if side == 'L' else 2}\n"
        turned = [(row, column if side == "L" else 31 - column) for row, column in points]
        regions = [{"Name": "Mass", "Point_px": [f"({column}, {row})"]} for row, column in turned]
        xml = tmp_path / "set" / "AllXML" / f"{number}.xml"
        xml.parent.mkdir(exist_ok=True)
        xml.write_bytes(plistlib.dumps({"Images": [{"ROIs": regions}]}))
    (tmp_path / "set" / "INbreast.csv").write_text(text)
    return prepare("inbreast", tmp_path / "set", tmp_path / "prepared")


def test_a_circle_is_on_its_lesion_in_films_of_either_side(tmp_path):
    records = release(tmp_path, points=[PLACE])
    for i, record in enumerate(records.records):
        (lesion,) = records.lesions(i)
        geometry = Geometry.from_json(record.geometry)
        ((row, column),) = geometry.from_original(np.asarray([(lesion["row"], lesion["column"])]))
        assert records.image(i)[round(row), round(column)] == 4095
        rows, columns = np.nonzero(records.image(i) == 4095)
        assert (rows.mean(), columns.mean()) == (row, column)  # the spot's middle
    assert {r.laterality for r in records.records} == {"L", "R"}


def test_circles_outside_of_the_picture_are_left_out_and_said(tmp_path):
    records = release(tmp_path, points=[PLACE, (20, -3), (480, 6)])
    for i, record in enumerate(records.records):
        assert len(records.lesions(i)) == 1
        assert "2 annotated lesions lie outside the picture and are left out" in record.warnings


@pytest.mark.parametrize("size", [1024, 512])
def test_places_and_spacing_are_those_of_the_published_size_alone(tmp_path, size):
    source = tmp_path / "mias"
    source.mkdir()
    for k in (1, 2):
        Image.fromarray((film(k, height=size) // 16).astype(np.uint8)).resize((size, size)).save(
            source / f"mdb00{k}.pgm"
        )
    (source / "Info.txt").write_text("mdb001 F CIRC B 300 500 60\nmdb002 F NORM \n")
    records = prepare("mias", source, tmp_path / "prepared")
    published = size == 1024
    assert [len(records.lesions(i)) for i in range(2)] == [int(published), 0]
    for record in records.records:
        assert record.spacing == ((0.2, 0.2) if published else None)
        assert any("512 x 512 pixels, 1024 x 1024 are published" in w for w in record.warnings) != published
