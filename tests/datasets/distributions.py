"""Published data sets in small: their layouts with generated films, for the tests of builders."""

from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    generate_uid,
)


def film(seed: int, side: str = "L", height: int = 48) -> np.ndarray:
    """uint16[height, 2/3 height]: a half-ellipse of 12-bit tissue, chest wall at the left for L, at the right for R."""
    width = height * 2 // 3
    rows, columns = np.mgrid[:height, :width]
    breast = (rows - height / 2) ** 2 / (0.375 * height) ** 2 + columns**2 / (0.6875 * width) ** 2 < 1
    noise = np.random.default_rng(seed).normal(2000, 150, breast.shape)
    picture = np.where(breast, noise, 20).astype(np.uint16)
    return picture if side == "L" else picture[:, ::-1].copy()


def dicom(path: Path, seed: int, side: str = "L", **elements) -> None:
    """Writes a film as a DICOM file. elements: of the header, by keyword, in place of or beside the usual ones."""
    pixels = film(seed, side)
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    header.SOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    header.Modality = "MG"
    header.Rows, header.Columns = pixels.shape
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 12, 11, 0
    header.PixelData = pixels.tobytes()
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)


def picture(path: Path, seed: int, side: str = "L") -> None:
    """Writes a film as 8-bit PNG or JPEG, by the suffix of the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((film(seed, side) // 16).astype(np.uint8)).save(path)


def touch(folder: Path, *names: str) -> None:
    """Empty files: for what is found by its name alone."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
