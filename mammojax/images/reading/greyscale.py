"""From stored values to display values: the DICOM greyscale pipeline as one table.

A pixel has at most 65536 codes, so the whole pipeline is evaluated once a code, in float64, and applied by
one look-up: stored value, padding, Modality LUT or rescale (PS3.3 C.11.1), VOI LUT or window (C.11.2) or
the logarithm of raw detector images (C.8.11.3), inversion of MONOCHROME1; then padding to background.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from pydicom.dataset import Dataset
from scipy import ndimage
from scipy.special import expit

from mammojax.images.mammogram import Rejected, usual_depth
from mammojax.images.reading.stored_bits import stored_bits

_CURVE_BITS = (
    16  # of windows and logarithms: their output is real, and 16 bits keep apart what the file keeps apart
)
_APART = 1 / 3  # of the grey levels of a picture: with fewer apart, a window cuts into the breast
_REACH = 1 / 8  # of full scale
_IMPLANT = 0.02  # share of the picture
_SEEN = 1e-4  # share of the picture that is worth a word


@dataclass
class DisplayTable:
    """values: uint16[codes], the display value of every code that a pixel can hold; of padding, what it would have if it
    were none. bits: they lie in [0, 2**bits - 1]. padding: bool[codes]; see `padded`. rules, warnings: what was done, and
    what a reader should know.
    """

    values: np.ndarray = field(repr=False)
    bits: int
    padding: np.ndarray = field(repr=False)
    rules: list[str]
    warnings: list[str]


def display_table(
    header: Dataset, *, for_processing: str, high_bit: int, present: np.ndarray
) -> DisplayTable:
    """The table that turns the codes of a file's pixels into display values, larger for denser tissue.

    header: the file's data set. for_processing: "log" turns raw detector images into log exposure, "refuse"
    raises Rejected for them. high_bit: the top bit of the stored value within a code, by the header. present:
    bool[2**BitsAllocated], the codes that occur; `stored_bits` holds the header against them. Codes are unsigned,
    BitsAllocated wide.

    Bits of the result: a VOI LUT keeps its own depth (the whole output range of the table, whatever part is
    used); windows and logarithms fill 16 bits; without VOI the range of the stored values, or of the
    Modality LUT, is kept with one display value a stored value. A rescale changes the values a window is
    given, not the depth. Raises Rejected for elements that cannot be carried out.
    """
    rules, warnings = [], []
    codes = np.arange(2**header.BitsAllocated)
    ends = _padding_ends(header)
    whole = _within(np.where(codes >= codes.size // 2, codes - codes.size, codes), ends)
    if not header.get("PixelRepresentation", 0):
        whole = _within(codes, ends)
    field = stored_bits(header, present=present, high_bit=high_bit, padding=whole, warnings=warnings)
    stored = field.values(codes)
    padding = _within(stored, ends)
    if ends and not stored.min() <= ends[0] <= ends[1] <= stored.max():
        # written with bits beyond BitsStored, against the standard: then the whole code is meant
        padding = whole
        warnings.append("PixelPaddingValue is no stored value; compared with the bits above BitsStored too")
    levels, low, high, bits = _modality(header, stored, field.bits, rules, warnings)
    first = header.get("PhotometricInterpretation") == "MONOCHROME1"
    if _is_raw(header):
        if for_processing == "refuse":
            raise Rejected(
                "a raw detector image (for processing), and such images are refused; the choice "
                "log would turn it into log exposure"
            )
        falling = bool(levels[stored.argmax()] < levels[stored.argmin()])
        share = _log_exposure(
            header, (levels - low) / (high - low), bits, rules, warnings, first=first, falling=falling
        )
        bits = _CURVE_BITS
    else:
        share, bits = _voi(header, levels, low, high, bits, rules, warnings)
        if first:
            share = 1 - share
            rules.append("inverted MONOCHROME1")
        contrary = "IDENTITY" if first else "INVERSE"
        if header.get("PresentationLUTShape") == contrary:
            told = f"MONOCHROME{1 if first else 2}"
            warnings.append(f"PresentationLUTShape {contrary} contradicts {told}, which is believed")
    values = np.rint(share * (2**bits - 1)).astype(np.uint16)
    if not _is_raw(header):
        _warn_of_little(values[present & ~padding], 2**bits, warnings)
    return DisplayTable(values, bits, padding, rules, warnings)


def padded(table: DisplayTable, codes: np.ndarray) -> np.ndarray:
    """uint16[h, w]: the display values of a picture's codes, its padding at 0; what was done is added to the table's rules.

    Padding lies at the frame. A detector's last value is also that of an implant: an area of `_IMPLANT` of the picture that
    has it, does not reach the frame and would be shown, is kept.
    """
    pixels, padding = table.values[codes], table.padding[codes]
    if padding.any():
        table.rules.append("padding to 0")
    if not pixels[padding].any():  # it is dark as it is
        return pixels
    parts, _ = ndimage.label(padding)
    at_frame = np.unique(np.concatenate((parts[0], parts[-1], parts[:, 0], parts[:, -1])))
    areas = np.bincount(parts.ravel())
    areas[at_frame] = 0
    areas[0] = 0
    kept = (areas >= _IMPLANT * padding.size)[parts]
    inside, bright = (areas > 0)[parts], pixels > (2**table.bits - 1) / 2
    for share, told in (
        (kept.mean(), "lie in areas that do not reach the frame, and are kept"),
        ((inside & ~kept & bright).mean(), "are bright, do not reach the frame, and were cleared"),
        ((padding & ~inside & bright).mean(), "are bright, at the frame, and were cleared"),
    ):
        if share > _SEEN:
            table.warnings.append(f"{share:.2%} of the picture have the padding's value, {told}")
    pixels[padding & ~kept] = 0
    return pixels


def _warn_of_little(seen: np.ndarray, levels: int, warnings: list[str]) -> None:
    """Warns of a picture that its header shows flat or clipped. seen: display values, one for each stored value that
    occurs; of `levels` possible ones."""
    if not seen.size:
        return
    apart, reach = int(np.unique(seen).size), int(seen.max()) - int(seen.min()) + 1
    if apart < _APART * seen.size:
        warnings.append(f"the file's own window or VOI LUT leaves {apart} of {seen.size} grey levels apart")
    elif reach < _REACH * levels:
        warnings.append(
            f"the picture uses {reach / levels:.1%} of its full scale; nothing in the header says which part"
        )


def _number(header: Dataset, name: str, default: float | None = None) -> float | None:
    """The first value of an element as a finite float; `default` if it is absent or empty."""
    value = header.get(name)
    if isinstance(value, (list, tuple)) or (hasattr(value, "__len__") and not isinstance(value, str)):
        value = value[0] if len(value) else None
    if value is None or value == "":
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise Rejected(f"{name} is not a number") from None
    if not math.isfinite(number):
        raise Rejected(f"{name} is not finite")
    return number


def _padding_ends(header: Dataset) -> tuple[float, float] | None:
    """The stored values from which to which pixels are padding, PixelPaddingValue and PixelPaddingRangeLimit in
    either order; None without."""
    value = _number(header, "PixelPaddingValue")
    if value is None:
        return None
    first, last = sorted((value, _number(header, "PixelPaddingRangeLimit", value)))
    return first, last


def _within(values: np.ndarray, ends: tuple[float, float] | None) -> np.ndarray:
    """bool: which values lie between the ends, these included; none without ends."""
    return np.zeros(values.shape, bool) if ends is None else (values >= ends[0]) & (values <= ends[1])


def _modality(
    header: Dataset, stored: np.ndarray, bits: int, rules: list[str], warnings: list[str]
) -> tuple[np.ndarray, float, float, int]:
    """(levels, lowest, highest, bits): modality values of the codes, and the range and depth they could
    have. bits: of the stored values.
    """
    if header.get("ModalityLUTSequence"):
        levels, bits = _look_up(header, "ModalityLUTSequence", stored, warnings)
        rules.append(f"Modality LUT of {bits} bits")
        return levels.astype(np.float64), 0.0, 2.0**bits - 1, bits
    slope = _number(header, "RescaleSlope", 1.0)
    intercept = _number(header, "RescaleIntercept", 0.0)
    if slope == 0:
        raise Rejected("RescaleSlope is 0: all pixels would be equal")
    if (slope, intercept) != (1.0, 0.0):
        rules.append(f"rescale {slope:g} x + {intercept:g}")
    levels = slope * stored + intercept
    if not (math.isfinite(levels.max() - levels.min()) and np.unique(levels).size == np.unique(stored).size):
        raise Rejected(f"rescale {slope:g} x + {intercept:g} does not keep the stored values apart")
    return levels, levels.min(), levels.max(), bits


def _look_up(header: Dataset, name: str, values: np.ndarray, warnings: list[str]) -> tuple[np.ndarray, int]:
    """(entries for `values` of the first LUT in the sequence `name`, its bits), by PS3.3 C.11.1.1: values
    outside the table take its ends.
    """
    item = header[name][0]
    try:
        entries, first, bits = (int(v) for v in item.LUTDescriptor)
        data = item.LUTData
    except (AttributeError, TypeError, ValueError):
        raise Rejected(f"{name} without a usable LUTDescriptor and LUTData") from None
    entries = entries or 65536
    if isinstance(data, (bytes, bytearray)):
        if len(data) in (entries, entries + entries % 2):  # packed bytes, as 8-bit tables occur
            table = np.frombuffer(data, np.uint8)
        else:
            order = ">" if header.original_encoding[1] is False else "<"
            table = np.frombuffer(data[: len(data) // 2 * 2], order + "u2")
    else:
        table = np.atleast_1d(np.asarray(data, np.int64)) & 0xFFFF
    if len(table) < entries:
        raise Rejected(f"{name} has {len(table)} entries, {entries} are declared")
    table = table[:entries].astype(np.int64)
    if not 1 <= bits <= 16:
        raise Rejected(f"{name} declares {bits} bits an entry; 8 to 16 are allowed")
    if table.max() >= 2**bits:
        warnings.append(f"{name} declares {bits} bits but holds {int(table.max())}")
        bits = int(table.max()).bit_length()
    elif bits == 16 and (held := usual_depth(int(table.max()))) < 16:
        # 16 is also what writers put for the width of an entry; a table of the whole output range reaches its end
        warnings.append(f"{name} declares 16 bits but ends at {int(table.max())}; {held} bits are taken")
        bits = held
    if values.min() < 0 and first >= 32768:  # written unsigned though the input is signed
        first -= 65536
    return table[np.clip(np.rint(values) - first, 0, entries - 1).astype(np.int64)], bits


def _voi(header, levels, low, high, bits, rules, warnings) -> tuple[np.ndarray, int]:
    """(share of the full scale in [0, 1], bits) after the first VOI LUT, else the first window, else none."""
    if header.get("VOILUTSequence"):
        count = len(header.VOILUTSequence)
        entries, bits = _look_up(header, "VOILUTSequence", levels, warnings)
        rules.append(f"VOI LUT of {bits} bits" + (f" (first of {count})" if count > 1 else ""))
        return entries / (2**bits - 1), bits
    centre, width = _number(header, "WindowCenter"), _number(header, "WindowWidth")
    function = str(header.get("VOILUTFunction") or "LINEAR").upper()
    if centre is not None and width is not None:
        least = 1 if function == "LINEAR" else math.ulp(0)
        if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
            warnings.append("VOILUTFunction is unknown; the window was not applied")
        elif width < least:
            warnings.append(f"a {function} window of width {width:g} is not allowed; it was not applied")
        else:
            count = np.size(header["WindowCenter"].value)
            choice = f" (first of {count})" if count > 1 else ""
            rules.append(f"window {centre:g}/{width:g} {function}{choice}")
            return _window(levels, centre, width, function), _CURVE_BITS
    elif centre is not None or width is not None:
        warnings.append("a window with only one of centre and width; it was not applied")
    return (levels - low) / (high - low), bits


def _window(levels: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    """Share of the output range in [0, 1]: PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID),
    C.11.2.1.3.2.
    """
    if function == "SIGMOID":
        return expit(4 * (levels - centre) / width)
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    share = np.where(levels > centre + width / 2, 1.0, 0.0)
    inside = (levels > centre - width / 2) & (levels <= centre + width / 2)
    if width > 0:
        share[inside] = (levels[inside] - centre) / width + 0.5
    return share


def _is_raw(header: Dataset) -> bool:
    return (
        header.get("PresentationIntentType") == "FOR PROCESSING"
        or header.get("SOPClassUID") == "1.2.840.10008.5.1.4.1.1.1.2.1"
    )


def _log_exposure(header, share, bits, rules, warnings, *, first: bool, falling: bool) -> np.ndarray:
    """Share of the full scale in [0, 1], larger for denser tissue, of a raw image (PS3.3 C.8.11.3.1.2).

    share: of the detector's range. Where PixelIntensityRelationship is LIN, x is the exposure in steps of
    the detector and 1 - log(1 + x) / log(1 + x_max) is returned; LOG and DISP are logarithms already. The
    Sign says whether larger stored values had more exposure; it replaces the inversion of MONOCHROME1, which
    describes the same of the values after the rescale. falling: whether that turns them round.
    """
    relation = str(header.get("PixelIntensityRelationship") or "").upper()
    sign = _number(header, "PixelIntensityRelationshipSign", 0.0)
    if relation not in ("LIN", "LOG", "DISP"):
        told = "is unknown" if relation else "is missing"
        warnings.append(f"PixelIntensityRelationship of a raw image {told}; LIN is assumed")
        relation = "LIN"
    if sign not in (-1, 1):
        sign = 1 if first else -1
        warnings.append(
            "PixelIntensityRelationshipSign of a raw image is missing; taken from PhotometricInterpretation"
        )
    elif falling:
        sign = -sign
    exposure = share if sign > 0 else 1 - share
    if relation == "LIN":
        steps = 2.0**bits - 1
        exposure = np.log1p(exposure * steps) / np.log1p(steps)
        rules.append(f"for processing: 1 - log(1 + x) / log(1 + {steps:g}), x exposure, sign {sign:+g}")
    else:
        rules.append(f"for processing: {relation} kept, sign {sign:+g}")
    return 1 - exposure
