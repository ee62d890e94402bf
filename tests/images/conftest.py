"""DICOM files of every kind, written by pydicom for the tests of this folder."""

import io

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset


@pytest.fixture(scope="session")
def stored() -> np.ndarray:
    """uint16[40, 30]: a picture of 12-bit stored values, all of the range in use."""
    picture = np.random.default_rng(5).integers(0, 4096, (40, 30))
    picture.flat[:4] = 0, 4095, 1, 4094
    return picture.astype(np.uint16)


@pytest.fixture(scope="session")
def dicom_file():
    """dicom_file(pixels, *, bits=12, syntax=..., preamble=True, body=None, **elements) -> bytes.

    pixels: integers[h, w] of stored values, or [frames, h, w]; signed if their type is. body: the encoded
    PixelData instead. elements: set on the data set last, None deletes one.
    """

    def write(
        pixels, *, bits=12, syntax=uid.ExplicitVRLittleEndian, preamble=True, body=None, **elements
    ) -> bytes:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = syntax
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.2"
        meta.MediaStorageSOPInstanceUID = "1.2.3"
        file = FileDataset(
            None, {}, file_meta=meta if preamble else None, preamble=b"\0" * 128 if preamble else None
        )
        allocated = pixels.dtype.itemsize * 8
        facts = {
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2",
            "SOPInstanceUID": "1.2.3",
            "Modality": "MG",
            "PatientID": "PAT-77",
            "PatientName": "Doe^Jane",
            "PatientBirthDate": "19610203",
            "AccessionNumber": "ACC-99",
            "Rows": pixels.shape[-2],
            "Columns": pixels.shape[-1],
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": allocated,
            "BitsStored": bits,
            "HighBit": bits - 1,
            "PixelRepresentation": int(pixels.dtype.kind == "i"),
            "PresentationIntentType": "FOR PRESENTATION",
        }
        if pixels.ndim == 3:
            facts["NumberOfFrames"] = len(pixels)
        for name, value in {**facts, **elements}.items():
            if value is not None:
                setattr(file, name, value)
        little = syntax != uid.ExplicitVRBigEndian
        raw = pixels.astype(pixels.dtype.newbyteorder("<" if little else ">")).tobytes()
        if body is not None:
            file.PixelData = pydicom.encaps.encapsulate([body])
        elif syntax == uid.RLELossless:
            # python-gdcm's encoder aborts the process on some sizes
            file.compress(
                syntax, np.ascontiguousarray(pixels), generate_instance_uid=False, encoding_plugin="pydicom"
            )
        else:
            file.PixelData = raw
        file["PixelData"].VR = "OW" if body is None and allocated == 16 else "OB"
        out = io.BytesIO()
        if preamble:
            pydicom.dcmwrite(out, file, enforce_file_format=True)
        else:
            pydicom.dcmwrite(
                out, file, implicit_vr=syntax == uid.ImplicitVRLittleEndian, little_endian=little
            )
        return out.getvalue()

    return write


@pytest.fixture(scope="session")
def lut():
    """lut(entries, first, bits) -> Dataset: one item of a VOI or Modality LUT Sequence."""

    def build(entries, first, bits) -> Dataset:
        item = Dataset()
        item.add_new(0x00283002, "US" if first >= 0 else "SS", [len(entries) % 65536, first, bits])
        item.add_new(0x00283006, "OW", np.asarray(entries, "<u2").tobytes())
        return item

    return build


@pytest.fixture(scope="session")
def code():
    """code(value, scheme, **more) -> Dataset: one item of a code sequence."""

    def build(value, scheme, **more) -> Dataset:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "as coded"
        for name, sequence in more.items():
            setattr(item, name, sequence)
        return item

    return build
