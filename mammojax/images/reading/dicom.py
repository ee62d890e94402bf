"""A DICOM file to a Mammogram: what is accepted, and in which order it is decoded.

Order: identify, reject what is no whole single-frame mammogram, check the declared sizes, decode, then
`greyscale.display_table` (sign and BitsStored, padding found, modality, VOI, inversion, padding painted).
"""

import logging
import warnings as python_warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder, pixel_array

from mammojax.images.mammogram import (
    MAX_PIXELS,
    Mammogram,
    Rejected,
    check_size,
    check_values,
    values_present,
)
from mammojax.images.reading import header as dicom_header
from mammojax.images.reading.codestream import declared_size
from mammojax.images.reading.elements import read_elements
from mammojax.images.reading.greyscale import display_table, padded
from mammojax.images.reading.rle import decode_rle
from mammojax.images.reading.stored_bits import sign_is_doubtful

_GDCM, _OPENJPEG = "python-gdcm", "pylibjpeg and pylibjpeg-openjpeg"
_PLUG_INS = {
    uid.JPEGBaseline8Bit: _GDCM,
    uid.JPEGExtended12Bit: "pylibjpeg and pylibjpeg-libjpeg (GPL)",
    uid.JPEGLossless: _GDCM,
    uid.JPEGLosslessSV1: _GDCM,
    uid.JPEGLSLossless: _GDCM,
    uid.JPEGLSNearLossless: _GDCM,
    uid.JPEG2000Lossless: _GDCM,
    uid.JPEG2000: _GDCM,
    uid.HTJ2K: _OPENJPEG,
    uid.HTJ2KLossless: _OPENJPEG,
    uid.HTJ2KLosslessRPCL: _OPENJPEG,
}

_ITEM = b"\xfe\xff\x00\xe0"  # what compressed pixels begin with (PS3.5 A.4)
_KNOWN = (
    "MONOCHROME1",
    "MONOCHROME2",
    "RGB",
    "PALETTE COLOR",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_ICT",
    "YBR_RCT",
)


def read_dicom(
    data: bytes, *, name: str = "", for_processing: str = "log", max_pixels: int = MAX_PIXELS
) -> Mammogram:
    """The mammogram in a DICOM file at full bit depth, denser tissue brighter.

    data: the file's bytes. name: its name or path, the last word on side and view. for_processing: "log"
    turns raw detector images into log exposure by a stated formula, "refuse" rejects them. max_pixels:
    larger declared sizes are rejected before memory is taken. The bits of the result: see
    `greyscale.display_table`.

    Laterality is believed in the order ImageLaterality, Laterality, ViewPosition, words of SeriesDescription
    and ProtocolName, file name, PatientOrientation; view in the order ViewCodeSequence, ViewPosition,
    PatientOrientation, words, file name. Contradictions become warnings. Raises Rejected, with the reason,
    for what cannot be used.
    """
    if for_processing not in ("log", "refuse"):
        raise ValueError(f"for_processing is 'log' or 'refuse', got {for_processing!r}")
    with silent_pydicom():
        warnings: list[str] = []
        header, syntax = read_elements(data, max_pixels, warnings)
        try:
            dicom_header.check_kind(header)
            high_bit = _check_pixel_module(header, syntax, max_pixels)
        except (TypeError, ValueError, AttributeError) as error:  # an element of a wrong type or form
            raise Rejected(f"malformed header ({type(error).__name__})") from None
        warnings += dicom_header.flags(header)
        codes = _decode(header, syntax, max_pixels)
        signed = bool(header.get("PixelRepresentation", 0))
        if sign_is_doubtful(codes, high_bit=high_bit, signed=signed):
            warnings.append(
                f"PixelRepresentation {int(signed)} is doubtful: values leap from one end of their range to the other all over "
                "the picture; believed as it is"
            )
        present = values_present(codes)[: 2**header.BitsAllocated]
        table = display_table(header, for_processing=for_processing, high_bit=high_bit, present=present)
        seen = present & ~table.padding
        if not seen.any():
            raise Rejected("all pixels are padding, by PixelPaddingValue and PixelPaddingRangeLimit")
        check_values(int(seen.sum()))
        if int(np.unique(table.values[seen]).size) < 2:
            raise Rejected("constant picture: after the file's own VOI all pixels have the same value")
        laterality = dicom_header.laterality(header, name, warnings)
        view = dicom_header.view(header, name, warnings)
        spacing, spacing_from = dicom_header.spacing(header, warnings)
        pixels = padded(table, codes)
        rules = [f"decoded {syntax.name}", *table.rules]
        if spacing_from:
            rules.append(f"spacing from {spacing_from}")
        return Mammogram(
            pixels=pixels,
            bits=table.bits,
            laterality=laterality,
            view=view,
            spacing=spacing,
            patient=dicom_header.patient(header, warnings),
            device=dicom_header.device(header),
            rules=tuple(rules),
            warnings=(*warnings, *table.warnings),
        )


def read_mask(data: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """bool[h, w]: the brighter of the two values of a DICOM file that is the mask of a finding, as some sets store them.

    Raises Rejected, with the reason, for what cannot be read and for a picture of more or fewer than two values.
    """
    with silent_pydicom():
        header, syntax = read_elements(data, max_pixels, [])
        try:
            _check_pixel_module(header, syntax, max_pixels)
        except (TypeError, ValueError, AttributeError) as error:
            raise Rejected(f"malformed header ({type(error).__name__})") from None
        codes = _decode(header, syntax, max_pixels)
    values = np.flatnonzero(values_present(codes))
    if len(values) != 2:
        raise Rejected(f"no mask: the picture has {len(values)} different values, a mask has two")
    return codes == values[0 if header.PhotometricInterpretation == "MONOCHROME1" else 1]


@contextmanager
def silent_pydicom() -> Iterator[None]:
    """Keeps pydicom from printing: its warnings quote values that may identify the patient."""
    log = logging.getLogger("pydicom")
    before, log.disabled = log.disabled, True
    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


def _check_pixel_module(header: Dataset, syntax: uid.UID, max_pixels: int) -> int:
    """The top bit of stored values within a code; raises Rejected for pixels that are absent or not grey."""
    if "PixelData" not in header:
        raise Rejected("no pixel data; the file may be truncated")
    rows, columns = (int(header.get(name) or 0) for name in ("Rows", "Columns"))
    check_size(rows, columns, max_pixels)
    photometric = dicom_header.text(header, "PhotometricInterpretation")
    samples = int(header.get("SamplesPerPixel") or 1)
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or samples != 1:
        raise Rejected(
            f"{samples} samples a pixel, {photometric if photometric in _KNOWN else 'no known interpretation'}; "
            "expected one sample, MONOCHROME1 or MONOCHROME2"
        )
    allocated, stored = (int(header.get(name) or 0) for name in ("BitsAllocated", "BitsStored"))
    encapsulated = syntax.is_encapsulated
    high_bit = stored - 1 if encapsulated or header.get("HighBit") is None else int(header.HighBit)
    if allocated not in (8, 16) or not (1 <= stored <= allocated and 0 <= high_bit < allocated):
        raise Rejected(
            f"BitsAllocated {allocated}, BitsStored {stored}, HighBit {high_bit}; "
            "expected 8 or 16 bits allocated and the stored bits within"
        )
    if not encapsulated:
        expected, found = rows * columns * allocated // 8, len(header.PixelData)
        told = f"{found} bytes of pixels, {rows} x {columns} pixels of {allocated} bits declared"
        if found != expected and header.PixelData.startswith(_ITEM):
            raise Rejected(
                "compressed pixels, and the file does not say how: TransferSyntaxUID is absent or wrong"
            )
        if found < expected:
            raise Rejected(f"truncated: {told}")
        if header.PixelData[expected:].strip(b"\0"):
            raise Rejected(f"more pixels than declared: {told}")
        header.PixelData = header.PixelData[:expected]  # zeros up to an even length or a sector's
    return high_bit


def _decode(header: Dataset, syntax: uid.UID, max_pixels: int) -> np.ndarray:
    """uint8 or uint16[h, w]: the codes as they are stored, bits beyond BitsStored included."""
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        told = syntax.name if syntax in uid.UID_dictionary else "without a known name"
        raise Rejected(f"transfer syntax {told} is not supported") from None
    remedy = _PLUG_INS.get(syntax, "")
    if not decoder.is_available:
        raise Rejected(
            f"{syntax.name} cannot be decoded here; install {remedy or 'a pydicom plug-in for it'}"
        )
    rows, columns = header.Rows, header.Columns
    if syntax.is_encapsulated:
        frame = _frame(header)
        if syntax == uid.RLELossless:
            return decode_rle(frame, rows, columns, header.BitsAllocated)
        _check_codestream(frame, rows, columns, max_pixels)
    # python-gdcm ends the whole process on some damaged pictures: it comes last where there is a choice
    plug_in = next(iter(sorted(decoder.available_plugins, key=lambda name: name == "gdcm")), "")
    try:
        codes = pixel_array(header, correct_unused_bits=False, decoding_plugin=plug_in)
    except MemoryError:
        raise
    except Exception as error:  # a foreign file can make a decoder raise anything
        hint = f"; install {remedy}" if syntax == uid.JPEGExtended12Bit else ""
        raise Rejected(f"{syntax.name}: pixels cannot be decoded ({type(error).__name__}){hint}") from None
    if codes.shape != (rows, columns) or codes.dtype.itemsize != header.BitsAllocated // 8:
        raise Rejected(
            f"decoded to {codes.shape} {codes.dtype}; {rows} x {columns} pixels of "
            f"{header.BitsAllocated} bits declared"
        )
    codes = codes.astype(codes.dtype.newbyteorder("="), copy=False)
    return codes.view(f"u{codes.dtype.itemsize}")


def _frame(header: Dataset) -> bytes:
    """The one compressed picture of a file, its fragments joined."""
    try:
        return next(generate_frames(header.PixelData, number_of_frames=1))
    except MemoryError:
        raise
    except Exception:
        raise Rejected("the compressed pixels are not a readable sequence of fragments; truncated?") from None


def _check_codestream(codestream: bytes, rows: int, columns: int, max_pixels: int) -> None:
    """Rejects a compressed picture that is not what the header says, before memory is taken for it."""
    size = declared_size(codestream)
    if size is None:
        raise Rejected("the compressed pixels do not start as a picture of the transfer syntax")
    check_size(size[0], size[1], max_pixels)
    if size != (rows, columns, 1):
        raise Rejected(
            f"the compressed picture is {size[0]} x {size[1]} with {size[2]} components, the "
            f"header says {rows} x {columns}"
        )
    # zeros may follow, to an even length or to a sector's; an end marker may be followed by a few bytes more
    if b"\xff\xd9" not in codestream.rstrip(b"\0")[-64:]:
        raise Rejected("truncated: the compressed picture has no end marker")
