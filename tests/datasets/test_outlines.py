"""Lesions from mask files: CBIS-DDSM's findings, with masks and crops under each other's names."""

import json

import numpy as np
import pytest
from distributions import dicom, film
from test_cbis_ddsm import tables

from mammojax.datasets import contents, outlines
from mammojax.datasets.builders.cbis_ddsm import CbisDdsm
from mammojax.datasets.prepare import prepare
from mammojax.images.mammogram import Rejected
from mammojax.images.reading.dicom import read_mask

SHAPE = film(0).shape  # 48 x 32


def memory(archive):
    return archive.with_name(f"{archive.name} masks.json")


WHOLE = "Mass-Training_P_00001_LEFT_CC"


def as_mask(rows: slice, columns: slice, shape=SHAPE) -> dict:
    """Elements of a DICOM file of 8 bits, 255 in a rectangle."""
    pixels = np.zeros(shape, np.uint8)
    pixels[rows, columns] = 255
    return {"PixelData": pixels.tobytes(), "Rows": shape[0], "Columns": shape[1], "BitsAllocated": 8, "BitsStored": 8,
            "HighBit": 7}  # fmt: skip


@pytest.fixture
def archive(tmp_path):
    """One film with two masses: the mask of the first lies where crops do, beside a crop; the second has a crop alone."""
    root = tables(tmp_path / "CBIS-DDSM")
    dicom(root / WHOLE / "1/1/1-1.dcm", 1, PatientID=WHOLE)
    one, two = (f"{WHOLE}_{finding}" for finding in (1, 2))
    dicom(root / one / "1/1/1-1.dcm", 2, PatientID=one)  # of the film's size, and no mask
    dicom(root / one / "1/1/1-2.dcm", 2, PatientID=one, **as_mask(slice(10, 21), slice(4, 8)))
    crop = as_mask(slice(2, 5), slice(2, 5), (9, 9))
    dicom(root / two / "1/1/1-1.dcm", 3, PatientID=two, **crop)
    return root


def test_the_circle_is_around_the_mask_whatever_its_name_and_a_finding_without_one_is_said(archive):
    found = {s.file: s for s in CbisDdsm.find(archive, archive)}[f"{WHOLE}/1/1/1-1.dcm"]
    # rows 10 to 20, columns 4 to 7: eleven pixels high
    assert found.lesions == ({"kind": "mass", "row": 15.0, "column": 5.5, "radius": 5.5},)
    assert found.warnings == (
        "mass 2: of its 1 files none is a mask of 48 x 32 pixels (9 x 9 pixels); where it lies is not known",
    )


def test_a_prepared_set_keeps_the_lesion_in_pixels_of_the_film(archive, tmp_path):
    records = prepare("cbis_ddsm", archive, tmp_path / "prepared")
    number = [record.record for record in records.records].index(f"{WHOLE}/1/1/1-1.dcm")
    assert [lesion["row"] for lesion in records.lesions(number)] == [15.0]
    # the archive's files are read once: the memory lies beside the sets
    assert (tmp_path / "prepared" / "unpacked" / "cbis_ddsm masks.json").is_file()


def test_circles_are_remembered_and_taken_anew_when_a_file_changes(archive, monkeypatch):
    def reads():
        read = []
        with monkeypatch.context() as here:
            here.setattr(
                outlines,
                "mask_circle",
                lambda *job: read.append(job) or {"row": 1.0, "column": 2.0, "radius": 3.0},
            )
            CbisDdsm.find(archive, archive)
        return len(read)

    assert [reads(), reads()] == [2, 2]  # two findings; files as new as these may change without a trace
    monkeypatch.setattr(contents, "_GRAIN", 0)  # as if they were older than the clock's grain
    assert [reads(), reads()] == [2, 0]
    dicom(archive / f"{WHOLE}_1/1/1/1-2.dcm", 2, **as_mask(slice(0, 4), slice(0, 4)))
    assert [reads(), reads()] == [1, 0]
    for damaged in ("[]", "{", json.dumps(dict.fromkeys(json.loads(memory(archive).read_text()), 3))):
        memory(archive).write_text(damaged)
        assert reads() == 2


def test_a_reason_is_not_remembered(archive, monkeypatch):
    """A disk that could not be read may be there again at the next start."""
    monkeypatch.setattr(contents, "_GRAIN", 0)
    with monkeypatch.context() as here:
        here.setattr(outlines, "mask_circle", lambda *job: "cannot be read: Stale file handle")
        found = {s.file: s for s in CbisDdsm.find(archive, archive)}[f"{WHOLE}/1/1/1-1.dcm"]
        assert not found.lesions and len(found.warnings) == 2
    assert {s.file: s for s in CbisDdsm.find(archive, archive)}[f"{WHOLE}/1/1/1-1.dcm"].lesions


def test_damaged_masks_cost_nothing_but_themselves(archive):
    path = archive / f"{WHOLE}_1/1/1/1-2.dcm"
    path.write_bytes(path.read_bytes()[:-700])
    found = {s.file: s for s in CbisDdsm.find(archive, archive)}[f"{WHOLE}/1/1/1-1.dcm"]
    assert not found.lesions and found.facts is not None
    assert "truncated" in found.warnings[0] and "836 bytes" in found.warnings[0]


def test_what_has_not_two_values_is_no_mask(tmp_path):
    dicom(tmp_path / "film.dcm", 1)
    with pytest.raises(Rejected, match="a mask has two"):
        read_mask((tmp_path / "film.dcm").read_bytes())
    dicom(tmp_path / "mask.dcm", 1, **as_mask(slice(3, 5), slice(6, 9)))
    mask = read_mask((tmp_path / "mask.dcm").read_bytes())
    assert mask.sum() == 6 and mask[3:5, 6:9].all()
    dicom(
        tmp_path / "mask.dcm", 1, **as_mask(slice(3, 5), slice(6, 9)), PhotometricInterpretation="MONOCHROME1"
    )
    assert np.array_equal(read_mask((tmp_path / "mask.dcm").read_bytes()), ~mask)
