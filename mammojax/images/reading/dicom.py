"""A DICOM file to a Mammogram: what is accepted, and in which order it is decoded.

Order: identify, reject what is no whole single-frame mammogram, check the declared sizes, decode, then
`greyscale.display_table` (sign and BitsStored, padding found, modality, VOI, inversion, padding painted).
"""

import io
import logging
import warnings as python_warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pydicom
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
from mammojax.images.reading.greyscale import display_table

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
_USED = (
    "SOPClassUID",
    "Modality",
    "PresentationIntentType",
    "SeriesDescription",
    "ProtocolName",
    "PatientID",
    "ImageLaterality",
    "Laterality",
    "ViewPosition",
    "ViewCodeSequence",
    "ViewModifierCodeSequence",
    "PatientOrientation",
    "EstimatedRadiographicMagnificationFactor",
    "BreastImplantPresent",
    "BurnedInAnnotation",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "PresentationLUTShape",
    "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign",
)
"""All elements that are looked at but the pixels; nothing else of a header leaves this module."""
_EXPLICIT_VR = {
    b"AE",
    b"AS",
    b"AT",
    b"CS",
    b"DA",
    b"DS",
    b"DT",
    b"FL",
    b"FD",
    b"IS",
    b"LO",
    b"LT",
    b"OB",
    b"OW",
    b"PN",
    b"SH",
    b"SL",
    b"SQ",
    b"SS",
    b"ST",
    b"TM",
    b"UI",
    b"UL",
    b"UN",
    b"US",
    b"UT",
}


def starts_as_dicom(head: bytes) -> bool:
    """Whether a file whose first bytes (132 or more) these are is DICOM, with the preamble or without."""
    if head[128:132] == b"DICM":
        return True
    if head[:2] not in (b"\x02\x00", b"\x08\x00") or len(head) < 16:  # a file starts in group 0002 or 0008
        return False
    explicit = head[4:6] in _EXPLICIT_VR
    return explicit or (
        head[2:4] in (b"\x00\x00", b"\x01\x00", b"\x05\x00", b"\x08\x00", b"\x16\x00")
        and int.from_bytes(head[4:8], "little") < 1024
    )


def read_dicom(
    data: bytes, *, name: str = "", for_processing: str = "log", max_pixels: int = MAX_PIXELS
) -> Mammogram:
    """The mammogram in a DICOM file at full bit depth, denser tissue brighter.

    data: the file's bytes. name: its name or path, the last word on side and view. for_processing: "log"
    turns raw detector images into log exposure by a stated formula, "refuse" rejects them. max_pixels:
    larger declared sizes are rejected before memory is taken. The bits of the result: see
    `greyscale.display_table`.

    Laterality is believed in the order ImageLaterality, Laterality, words of SeriesDescription and
    ProtocolName, file name, PatientOrientation; view in the order ViewCodeSequence, ViewPosition,
    PatientOrientation, words, file name. Contradictions become warnings. Raises Rejected, with the reason,
    for what cannot be used.
    """
    if for_processing not in ("log", "refuse"):
        raise ValueError(f"for_processing is 'log' or 'refuse', got {for_processing!r}")
    with _silent_pydicom():
        header, syntax = _parse(data, max_pixels)
        try:
            dicom_header.check_kind(header)
            high_bit = _check_pixel_module(header, syntax, max_pixels)
        except (TypeError, ValueError, AttributeError) as error:  # an element of a wrong type or form
            raise Rejected(f"malformed header ({type(error).__name__})") from None
        warnings = dicom_header.flags(header)
        codes = _decode(header, syntax, max_pixels)
        present = values_present(codes)[: 2**header.BitsAllocated]
        table = display_table(header, for_processing=for_processing, high_bit=high_bit, present=present)
        seen = present & ~table.padding
        check_values(int(seen.sum()))
        if int(np.unique(table.values[seen]).size) < 2:
            raise Rejected("constant picture: after the file's own VOI all pixels have the same value")
        laterality = dicom_header.laterality(header, name, warnings)
        view = dicom_header.view(header, name, warnings)
        spacing, spacing_from = dicom_header.spacing(header, warnings)
        rules = [f"decoded {syntax.name}", *table.rules]
        if spacing_from:
            rules.append(f"spacing from {spacing_from}")
        return Mammogram(
            pixels=table.values[codes],
            bits=table.bits,
            laterality=laterality,
            view=view,
            spacing=spacing,
            patient=dicom_header.patient(header, warnings),
            rules=tuple(rules),
            warnings=(*warnings, *table.warnings),
        )


@contextmanager
def _silent_pydicom() -> Iterator[None]:
    """Keeps pydicom from printing: its warnings quote values that may identify the patient."""
    log = logging.getLogger("pydicom")
    before, log.disabled = log.disabled, True
    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


def _parse(data: bytes, max_pixels: int) -> tuple[Dataset, uid.UID]:
    """(data set, transfer syntax). A foreign file can make a parser raise anything: all of it is a
    rejection.
    """
    try:
        preamble = data[128:132] == b"DICM"
        if preamble:
            _check_inflated(data, max_pixels)
        header = pydicom.dcmread(io.BytesIO(data), force=not preamble)
        for keyword in _USED:
            header.get(keyword)  # elements are parsed when they are first asked for
        syntax = header.file_meta.get("TransferSyntaxUID")
        if syntax is None:
            implicit, little = header.original_encoding
            syntax = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
            syntax = syntax if little else uid.ExplicitVRBigEndian
            header.file_meta.TransferSyntaxUID = syntax
        return header, uid.UID(syntax)
    except (Rejected, MemoryError):
        raise
    except Exception as error:
        raise Rejected(f"not a readable DICOM file ({type(error).__name__}); it may be truncated") from None


def _check_inflated(data: bytes, max_pixels: int) -> None:
    """Rejects a deflated data set that would inflate to more than a picture of `max_pixels` needs."""
    length = int.from_bytes(data[140:144], "little") if data[132:136] == b"\x02\0\0\0" else 0
    if uid.DeflatedExplicitVRLittleEndian.encode() not in data[132 : 144 + (length or 4096)]:
        return
    if not length:
        raise Rejected("a deflated file whose header does not tell where it ends")
    limit, size, body = 2 * max_pixels + 2**24, 0, data[144 + length :]
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while body and not inflater.eof:
        size += len(inflater.decompress(body, 2**24))
        body = inflater.unconsumed_tail
        if size > limit:
            raise Rejected(f"the deflated data set is larger than {limit} bytes when inflated")


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
            f"{samples} samples a pixel, {photometric[:16] or 'no photometric interpretation'}; "
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
    if not encapsulated and len(header.PixelData) < rows * columns * allocated // 8:
        raise Rejected(
            f"truncated: {len(header.PixelData)} bytes of pixels, {rows} x {columns} pixels of "
            f"{allocated} bits declared"
        )
    return high_bit


def _decode(header: Dataset, syntax: uid.UID, max_pixels: int) -> np.ndarray:
    """uint8 or uint16[h, w]: the codes as they are stored, bits beyond BitsStored included."""
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise Rejected(f"transfer syntax {syntax.name[:64]} is not supported") from None
    remedy = _PLUG_INS.get(syntax, "")
    if not decoder.is_available:
        raise Rejected(
            f"{syntax.name} cannot be decoded here; install {remedy or 'a pydicom plug-in for it'}"
        )
    rows, columns = header.Rows, header.Columns
    if syntax.is_encapsulated and syntax != uid.RLELossless:
        _check_codestream(header, rows, columns, max_pixels)
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


def _check_codestream(header: Dataset, rows: int, columns: int, max_pixels: int) -> None:
    """Rejects a compressed picture that is not what the header says, before memory is taken for it."""
    try:
        codestream = next(generate_frames(header.PixelData, number_of_frames=1))
    except Exception:
        raise Rejected("the compressed pixels are not a readable sequence of fragments; truncated?") from None
    size = declared_size(codestream)
    if size is None:
        raise Rejected("the compressed pixels do not start as a picture of the transfer syntax")
    check_size(size[0], size[1], max_pixels)
    if size != (rows, columns, 1):
        raise Rejected(
            f"the compressed picture is {size[0]} x {size[1]} with {size[2]} components, the "
            f"header says {rows} x {columns}"
        )
    if b"\xff\xd9" not in codestream[-64:]:
        raise Rejected("truncated: the compressed picture has no end marker")
