"""Any mammogram file to a Mammogram: the kind of file is told by its content, never by its name."""

from pathlib import Path

from mammojax.images.mammogram import MAX_PIXELS, Mammogram, Rejected
from mammojax.images.reading.raster import read_raster
from mammojax.images.reading.starts import starts_as_dicom

IMAGE_SUFFIXES = (".dcm", ".dicom", ".png", ".tif", ".tiff", ".pgm", ".jpg", ".jpeg")
"""Lower-case suffixes of files that a listing of a folder takes for pictures; see `is_image_file`."""

_RASTER_STARTS = (b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"P2", b"P5", b"\xff\xd8\xff")
_EXPECTED = "expected DICOM, PNG, TIFF, PGM or JPEG"
_OTHERS = (
    (b"GIF8", f"a GIF picture; {_EXPECTED}"),
    (b"BM", f"a BMP picture; {_EXPECTED}"),
    (b"\0\0\0\x0cjP  ", f"a bare JPEG 2000 picture; {_EXPECTED}"),
    (b"\xff\x4f\xff\x51", f"a bare JPEG 2000 codestream; {_EXPECTED}"),
    (b"PK\x03\x04", "a ZIP archive; unpack it first"),
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"II+\0", "a BigTIFF file; save it as plain TIFF"),
    (b"MM\0+", "a BigTIFF file; save it as plain TIFF"),
)


def read_mammogram(
    data: bytes, name: str, *, for_processing: str = "log", max_pixels: int = MAX_PIXELS, depth: int = 0
) -> Mammogram:
    """The mammogram in a DICOM, PNG, TIFF, PGM or JPEG file at full bit depth.

    data: the file's bytes. name: its name or path, for guesses at side and view only. for_processing: "log"
    or "refuse" raw detector images of DICOM files. max_pixels: larger declared sizes are rejected. depth: bits of
    16-bit rasters that do not state their own, 0 where nobody knows (see `read_raster`). Raises Rejected, whose
    message is the reason, for any file that is none of these or cannot be used.
    """
    if not data:
        raise Rejected("empty file")
    if (
        data.startswith(_RASTER_STARTS) and data[128:132] != b"DICM"
    ):  # a preamble may hold anything, TIFF included
        return read_raster(data, name, max_pixels=max_pixels, depth=depth)
    if starts_as_dicom(data[:132]):
        from mammojax.images.reading.dicom import read_dicom  # see `starts`

        return read_dicom(data, name=name, for_processing=for_processing, max_pixels=max_pixels)
    for start, reason in _OTHERS:
        if data.startswith(start):
            raise Rejected(reason)
    text = all(32 <= b < 127 or b in b"\t\r\n\f" for b in data[:512])
    raise Rejected(f"{'a text file' if text else 'unknown content'}; {_EXPECTED}")


def is_image_file(path: Path) -> bool:
    """Whether a listing takes the file for a picture: by its suffix, or, where it has none, by a start as
    DICOM. What may be one and cannot be looked at counts: the reading of it tells why it is rejected.
    """
    suffix = path.suffix.lower()
    # DICOM exports name files by UIDs, whose last number looks like a suffix
    if suffix and suffix not in IMAGE_SUFFIXES and not suffix[1:].isdigit():
        return False
    try:
        if not path.is_file():
            return False
        if suffix in IMAGE_SUFFIXES:
            return True
        with path.open("rb") as file:
            return starts_as_dicom(file.read(132))
    except OSError:
        return True
