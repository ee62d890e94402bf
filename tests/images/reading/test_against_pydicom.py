"""Greyscale held against pydicom's own pipeline, on every file that comes with pydicom.

pydicom returns modality and VOI values in the file's own units; ours are the same values on a scale of 0 to 2**bits - 1.
So the two are equal up to one affine map, within one step of ours: half of it is the rounding, and the map is fitted to
rounded values, with an error of its own. Made files of every form are held against the standard's formulas elsewhere.
"""

import re
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from mammojax.images.mammogram import Rejected
from mammojax.images.reading import header as dicom_header
from mammojax.images.reading.dicom import read_dicom

DIFFERENCES = {
    r"samples a pixel": "colour and palettes: no mammogram is stored so",
    r"no pixel data": "reports, plans, waveforms and directories hold no picture",
    r"BitsAllocated (1|32)": "segmentations and doses: a mammogram has 8 or 16 bits",
    r"rows and \d+ columns are declared": "no picture is declared",
    r"^truncated": "MR_truncated.dcm: pydicom fills what is absent if it is asked to, we never do",
    r"JPEG Extended": "12-bit JPEG needs a plug-in under the GPL, which the reason names",
    r"NumberOfFrames cannot be read": "badVR.dcm: nobody knows how many pictures there are",
    r"more than the limit of": "JPEG2000-embedded-sequence-delimiter.dcm: the codestream's own size is overwritten",
}
"""Files that are rejected, by the reason given, and why that is right."""

FOLDER = Path(pydicom.__file__).parent / "data" / "test_files"


def reference(file: Path) -> np.ndarray:
    """float64[h, w]: modality, then VOI, inverted for MONOCHROME1, which pydicom leaves to its caller."""
    header = pydicom.dcmread(file)
    values = apply_voi_lut(apply_modality_lut(header.pixel_array, header), header).astype(np.float64)
    return -values if header.PhotometricInterpretation == "MONOCHROME1" else values


def test_grey_files_of_pydicom_come_out_as_pydicom_has_them_or_are_on_the_list(monkeypatch):
    monkeypatch.setattr(dicom_header, "check_kind", lambda header: None)  # few of them are mammograms
    equal, reasons = [], set()
    for file in sorted(FOLDER.rglob("*.dcm")):
        try:
            mammogram = read_dicom(file.read_bytes())
        except Rejected as rejection:
            told = [reason for reason in DIFFERENCES if re.search(reason, str(rejection))]
            assert told, f"{file.name}: {rejection}"
            reasons.update(told)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = reference(file).ravel()
        ours = mammogram.pixels.ravel().astype(np.float64)
        if "padding to 0" in mammogram.rules:  # which pydicom leaves as it is
            theirs, ours = theirs[ours > 0], ours[ours > 0]
        slope, offset = np.polyfit(ours, theirs, 1)
        assert slope > 0 and np.abs((theirs - offset) / slope - ours).max() < 1, file.name
        equal.append(file.name)
    assert len(equal) >= 15 and {"MR_small_bigendian.dcm", "examples_overlay.dcm", "CT_small.dcm"} <= set(
        equal
    )
    assert len(reasons) >= 5


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("voi", ["none", "linear", "exact", "sigmoid", "lut"])
@pytest.mark.parametrize("modality", ["none", "rescale", "lut"])
def test_made_files_of_every_form_come_out_as_pydicom_has_them(
    dicom_file, lut, stored, tmp_path, signed, photometric, voi, modality
):
    pixels = stored.astype(np.int16) - 2048 if signed else stored
    first = -2048 if signed else 0
    elements = {"PhotometricInterpretation": photometric}
    if modality == "rescale":
        elements |= {"RescaleSlope": "2", "RescaleIntercept": "100"}
    elif modality == "lut":
        elements["ModalityLUTSequence"] = [lut(np.arange(4096) ** 2 // 256, first, 16)]
        first = 0
    if voi == "lut":
        top = 1000 if modality == "none" else 3000
        elements["VOILUTSequence"] = [lut(np.arange(top) * 4 + 95, first, 14)]
    elif voi != "none":
        function = {"linear": "LINEAR", "exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}[voi]
        elements |= {"WindowCenter": 700, "WindowWidth": 1500, "VOILUTFunction": function}
    file = tmp_path / "made.dcm"
    file.write_bytes(dicom_file(pixels, **elements))
    ours, theirs = read_dicom(file.read_bytes()).pixels.ravel().astype(np.float64), reference(file).ravel()
    slope, offset = np.polyfit(ours, theirs, 1)
    assert slope > 0 and np.abs((theirs - offset) / slope - ours).max() < 1
