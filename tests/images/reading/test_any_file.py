"""The kind of a file is told by its content, and what is no mammogram is rejected with a clear reason."""

from pathlib import Path

import numpy as np
import pytest

from mammojax.images.mammogram import Rejected
from mammojax.images.reading.any_file import IMAGE_SUFFIXES, is_image_file, read_mammogram


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"path,label\na.dcm,1\n", "a text file"),
        (b"\xff\xd8\xff\xe0" + bytes(40), "JPEG without a frame"),
        (b"GIF89a", "GIF"),
        (b"BM" + bytes(60), "BMP"),
        (b"PK\x03\x04" + bytes(30), "ZIP"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\0\0\0\x0cjP  \r\n", "JPEG 2000"),
        (bytes(5000), "unknown content"),
        (b"\x80\x81" * 300, "unknown content"),
        (b"\x89PNG\r\n\x1a\n", "PNG without a header"),
        (b"II*\0", "TIFF cannot be decoded"),
        (bytes(128) + b"DICM", "pixel"),
        (b"\x08\0\x60\0CS\x02\0MG" + bytes(6), "pixel"),
    ],
)
def test_what_is_no_mammogram_is_rejected_with_its_reason(data, reason):
    with pytest.raises(Rejected, match=reason):
        read_mammogram(data, "x.dcm")


def test_the_suffix_does_not_matter(dicom_file, stored):
    for name in ("x.png", "x.pgm", "x", "x.txt"):
        np.testing.assert_array_equal(read_mammogram(dicom_file(stored), name).pixels, stored)


def test_a_preamble_that_looks_like_a_tiff_is_still_dicom(dicom_file, stored):
    file = b"II*\0" + dicom_file(stored)[4:]
    np.testing.assert_array_equal(read_mammogram(file, "x").pixels, stored)


def refused(*arguments):
    raise PermissionError(13, "Permission denied")


def test_a_listing_takes_suffixes_and_nameless_dicom_files_and_what_may_be_one(
    dicom_file, stored, tmp_path, monkeypatch
):
    for name in ("a.DCM", "b.tiff", "c.pgm"):
        (tmp_path / name).write_bytes(b"anything")
    (tmp_path / "d").write_bytes(dicom_file(stored))
    (tmp_path / "1.2.840.5").write_bytes(dicom_file(stored, preamble=False))
    (tmp_path / "README").write_text("text")
    (tmp_path / "e.csv").write_bytes(dicom_file(stored))
    (tmp_path / "folder.png").mkdir()
    taken = sorted(p.name for p in tmp_path.iterdir() if is_image_file(p))
    assert taken == ["1.2.840.5", "a.DCM", "b.tiff", "c.pgm", "d"]
    monkeypatch.setattr(Path, "open", refused)
    assert is_image_file(tmp_path / "d") and not is_image_file(tmp_path / "e.csv")
    assert {".dcm", ".dicom", ".png", ".tif", ".tiff", ".pgm"} <= set(IMAGE_SUFFIXES)
