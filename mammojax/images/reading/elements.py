"""The elements of a DICOM file: all that are looked at, parsed once, each either usable, ignored with a warning, or the
reason of a rejection.

A header is written by many hands. What a picture cannot be read without must be right; of the rest a malformed element
is left out and named. Nothing of an element's text gets into a message: it may identify the patient, or hold anything.
"""

import io
import zlib
from typing import Any

import pydicom
from pydicom import uid
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from mammojax.images.mammogram import Rejected

_NEEDED = (
    "SOPClassUID",
    "Modality",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
)
"""Elements that decide what the pixels are and mean."""
_USEFUL = (
    "PresentationIntentType",
    "SeriesDescription",
    "ProtocolName",
    "PatientID",
    "Manufacturer",
    "ManufacturerModelName",
    "ImageLaterality",
    "Laterality",
    "ViewPosition",
    "ViewCodeSequence",
    "ViewModifierCodeSequence",
    "PatientOrientation",
    "EstimatedRadiographicMagnificationFactor",
    "DistanceSourceToDetector",
    "DistanceSourceToPatient",
    "PartialView",
    "ImageType",
    "BreastImplantPresent",
    "BurnedInAnnotation",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "PixelAspectRatio",
    "HighBit",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "PresentationLUTShape",
    "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign",
)
"""With these, all elements that are looked at but the pixels; nothing else of a header leaves this module."""
# no overlay is read, only where it lies; see `stored_bits`
_OVERLAYS = [(group << 16) + element for group in range(0x6000, 0x6020, 2) for element in (0x0102, 0x3000)]
_TAGS = [*map(tag_for_keyword, (*_NEEDED, *_USEFUL, "PixelData")), *_OVERLAYS]
_NUMBERS = ("DS", "IS", "US", "SS", "US or SS")


def read_elements(data: bytes, max_pixels: int, warnings: list[str]) -> tuple[Dataset, uid.UID]:
    """(data set, transfer syntax) of a file. Malformed elements that no picture needs are taken out, with a warning.

    max_pixels: a deflated data set larger than such a picture is not inflated. Raises Rejected for the rest: a
    foreign file can make a parser raise anything.
    """
    try:
        preamble = data[128:132] == b"DICM"
        if preamble:
            _check_inflated(data, max_pixels)
        header = pydicom.dcmread(io.BytesIO(data), force=not preamble, specific_tags=_TAGS)
        syntax = header.file_meta.get("TransferSyntaxUID")
        if syntax is None:
            implicit, little = header.original_encoding
            syntax = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
            syntax = syntax if little else uid.ExplicitVRBigEndian
            header.file_meta.TransferSyntaxUID = syntax
        syntax = uid.UID(syntax)
    except (Rejected, MemoryError):
        raise
    except Exception as error:
        raise Rejected(f"not a readable DICOM file ({type(error).__name__}); it may be truncated") from None
    for keyword in (*_NEEDED, *_USEFUL):
        _settle(header, keyword, warnings)
    return header, syntax


def settled(header: Dataset) -> None:
    """Parses what is looked at beside the pixels; takes out what is malformed."""
    for keyword in _USEFUL:
        _settle(header, keyword, [])


def _settle(header: Dataset, keyword: str, warnings: list[str]) -> None:
    """Parses one element; elements are parsed when they are first asked for."""
    tag = tag_for_keyword(keyword)
    if tag not in header:
        return
    wanted = dictionary_VR(tag)
    raw = next(element for element in header.values() if element.tag == tag)  # header[tag] would parse it
    value, usable = _value(header, tag)
    if usable and wanted == "SQ":
        usable = isinstance(value, Sequence)
    elif usable and wanted in _NUMBERS and not _are_numbers(value):
        try:  # pydicom gives the bytes of what it cannot parse; `raw` is for what it raises at
            text = raw.value if isinstance(raw.value, bytes) else value
            text = text.decode("ascii") if isinstance(text, bytes) else text
            text = text if isinstance(text, str) else "\\".join(text)
            header[tag] = DataElement(tag, "DS", text.replace(",", "."))
            usable = _are_numbers(header[tag].value)
        except (TypeError, ValueError, OverflowError):
            usable = False
        if usable and "," in text:
            warnings.append(f"{keyword} has a decimal comma, which was read as a point")
    elif usable and wanted == "CS" and value:
        header[tag] = DataElement(tag, "CS", _plain(value))
    if not usable:
        if keyword in _NEEDED:
            raise Rejected(f"malformed header: {keyword} cannot be read")
        del header[tag]
        warnings.append(f"{keyword} is malformed and was ignored")


def _value(header: Dataset, tag: int) -> tuple[Any, bool]:
    """(an element's value, whether it could be parsed at all)."""
    try:
        return header[tag].value, True
    except MemoryError:
        raise
    except Exception:
        return None, False


def _plain(value: Any) -> Any:
    """A code string, or several, in capitals and without blanks around it, which are no part of it (PS3.5 6.2)."""
    if isinstance(value, MultiValue | list):
        return [_plain(one) for one in value]
    return value.strip("\0 \t\r\n").upper() if isinstance(value, str) else value


def _are_numbers(value: Any) -> bool:
    """Whether a value is a number, some numbers, or empty."""
    values = value if isinstance(value, MultiValue | list | tuple) else [value]
    return all(v is None or v == "" or isinstance(v, int | float) for v in values)


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
