"""What a DICOM header says about a picture: whether it is a whole mammogram, of which side, view and patient.

Where elements contradict each other one is believed, in a stated order of trust, and a warning has both.
"""

import re

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from mammojax.images.mammogram import Rejected
from mammojax.images.views import (
    CODE_SCHEMES,
    MODIFIER_CODES,
    VIEW_CODES,
    believed,
    from_file_name,
    from_patient_orientation,
    from_words,
    side_of,
    unusable_kind,
)

_MAMMOGRAM_CLASSES = ("1.2.840.10008.5.1.4.1.1.1.2", "1.2.840.10008.5.1.4.1.1.1.2.1")
_TOMOSYNTHESIS_CLASSES = ("1.2.840.10008.5.1.4.1.1.13.1.3",)
_PROJECTION_CLASSES = ("1.2.840.10008.5.1.4.1.1.13.1.4", "1.2.840.10008.5.1.4.1.1.13.1.5")
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_SECONDARY_MODALITIES = ("", "OT", "SC", "CR", "DX", "RG")  # that a digitised film is filed under
# EstimatedRadiographicMagnificationFactor, or the quotient of the distances of detector and patient from the source:
# contact views have 1.0 to 1.2, magnification 1.5 to 2
_MAGNIFIED = 1.4
_SQUARE = 0.01  # how much a pixel's sides may differ
_NOBODY = {"", "REMOVED", "ANON", "ANONYMOUS", "ANONYMIZED", "ANONYMISED", "UNKNOWN", "NONE", "N/A"}
_NO_SIDE = ("", "B", "U")  # both and unpaired, PS3.3 C.8.11.7
_CBIS_ID = re.compile(r"(?:Mass|Calc)-(?:Training|Test)_(P_\d{5})")
# PatientOrientation has F in the column direction for the former and none for the latter
_LATERAL, _AXIAL = ("MLO", "ML", "LM", "LMO", "SIO", "ISO"), ("CC", "XCCL", "XCCM", "FB")


def text(header: Dataset, name: str) -> str:
    """The element as text without blanks around it, "" if it is absent."""
    value = header.get(name)
    return "" if value is None else str(value).strip()


def _codes(items, table: dict[str, str]) -> list[str]:
    """The table's names for a sequence of codes; `SNM3` is what older files call SRT."""
    return [
        table[value]
        for item in items or ()
        if text(item, "CodingSchemeDesignator").upper() in CODE_SCHEMES
        and (value := text(item, "CodeValue").upper()) in table
    ]


def _view_codes(header: Dataset) -> list[str]:
    return _codes(header.get("ViewCodeSequence"), VIEW_CODES)


def _modifiers(header: Dataset) -> list[str]:
    items = [header, *(header.get("ViewCodeSequence") or ())]
    return [m for item in items for m in _codes(item.get("ViewModifierCodeSequence"), MODIFIER_CODES)]


def _descriptions(header: Dataset) -> str:
    return f"{text(header, 'SeriesDescription')} {text(header, 'ProtocolName')}"


def check_kind(header: Dataset) -> None:
    """Raises Rejected for what is no whole, single-frame mammogram."""
    modality, sop_class = text(header, "Modality").upper(), text(header, "SOPClassUID")
    known = modality == "MG" or (not modality and sop_class in _MAMMOGRAM_CLASSES)
    secondary = f"{sop_class}.".startswith(f"{_SECONDARY_CAPTURE}.") and modality in _SECONDARY_MODALITIES
    if not modality and "PixelData" not in header:
        raise Rejected("neither modality nor pixel data; the file may be truncated")
    if not (known or secondary):
        told = (
            modality
            if modality.isalpha() and len(modality) <= 4
            else "not a code"
            if modality
            else "not given"
        )
        raise Rejected(f"modality is {told}; expected MG, or a Secondary Capture")
    if sop_class in _TOMOSYNTHESIS_CLASSES:
        raise Rejected("breast tomosynthesis; expected a single projection")
    frames = int(header.get("NumberOfFrames") or 1)
    if frames != 1:
        raise Rejected(f"multi-frame picture of {frames} frames (tomosynthesis?); expected one frame")
    unusable = [m for m in _modifiers(header) if m in ("magnification", "spot compression")]
    unusable += [v for v in _view_codes(header) if v == "specimen"]
    unusable += [unusable_kind(text(header, name)) for name in ("ViewPosition", "SeriesDescription")]
    if any(unusable):
        raise Rejected(f"no whole mammogram: {next(filter(None, unusable))}")
    factor = _magnification(header)
    if factor >= _MAGNIFIED:
        raise Rejected(f"no whole mammogram: magnification by {factor:.3g}")


def _magnification(header: Dataset) -> float:
    """By the factor that is stated, else by the distances from the source; 1 where nothing tells it."""
    stated = _first_number(header, "EstimatedRadiographicMagnificationFactor")
    if stated:
        return stated
    return _quotient(header, "DistanceSourceToDetector", "DistanceSourceToPatient")


def _quotient(header: Dataset, over: str, under: str) -> float:
    """Of the first values of two elements, 1 where one is absent or wrong: there is no magnification by 4."""
    above, below = _first_number(header, over), _first_number(header, under)
    return above / below if above and below and above / below < 4 else 1.0


def _first_number(header: Dataset, name: str) -> float:
    """An element's value, the first of several; 0 where it is absent or none above 0."""
    value = header.get(name)
    value = value[0] if isinstance(value, MultiValue | list) and len(value) else value
    return float(value) if isinstance(value, int | float) and value > 0 else 0.0


def flags(header: Dataset) -> list[str]:
    """Warnings for pictures that are kept but that a reader may want to leave out."""
    warnings = []
    if text(header, "Modality").upper() != "MG":
        warnings.append(f"modality is {text(header, 'Modality') or 'not given'}, accepted by its SOP class")
    if text(header, "BreastImplantPresent").upper() == "YES":
        warnings.append("breast implant present")
    warnings += [f"view modifier: {m}" for m in dict.fromkeys(_modifiers(header))]
    # a protocol is made of several pictures: its name says little of this one
    if protocol := unusable_kind(text(header, "ProtocolName")):
        warnings.append(f"ProtocolName says {protocol}, nothing else does; kept as a whole mammogram")
    if text(header, "BurnedInAnnotation").upper() == "YES":
        warnings.append("burned-in annotation declared")
    if text(header, "SOPClassUID") in _PROJECTION_CLASSES:
        warnings.append(
            "Breast Projection X-Ray: side, view, spacing and window of its functional groups were not read"
        )
    if "GENERATED_2D" in text(header, "ImageType").upper():
        warnings.append("synthesised from a tomosynthesis, by ImageType; kept as a mammogram")
    if text(header, "PartialView").upper() == "YES":
        warnings.append("partial view declared: a part of the breast is in another picture")
    if said := _lying(header):
        warnings.append(f"PatientOrientation says that the picture {said}; kept as it is")
    # spacing at the detector over spacing in the breast; others put anything into either
    if _quotient(header, "ImagerPixelSpacing", "PixelSpacing") >= _MAGNIFIED:
        warnings.append(
            "ImagerPixelSpacing and PixelSpacing differ as in a magnified view; kept as a whole mammogram"
        )
    ratio = [v for v in header.get("PixelAspectRatio") or () if isinstance(v, int | float)]
    if len(ratio) == 2 and min(ratio) > 0 and abs(ratio[0] / ratio[1] - 1) > _SQUARE:
        warnings.append(
            f"pixels are not square, by PixelAspectRatio {ratio[0]:g} to {ratio[1]:g}; kept as they are"
        )
    return warnings


def _lying(header: Dataset) -> str:
    """How a picture lies whose rows do not run between chest wall and nipple, head up; "" where it is not said to."""
    rows, columns = [*(str(v).strip().upper() for v in _orientation(header)), "", ""][:2]
    if not columns or set(rows + columns) - set("APRLHF"):
        return ""
    if rows[:1] in ("H", "F"):
        return "lies on its side"
    return "is upside down" if "H" in columns else ""


def laterality(header: Dataset, name: str, warnings: list[str]) -> str:
    """ "L", "R" or "" (unknown); contradictions are added to `warnings`. name: of the file."""
    claims = []
    for name_of_element in ("ImageLaterality", "Laterality"):
        written = text(header, name_of_element)
        claims.append((name_of_element, side_of(written)))
        if written.upper() not in _NO_SIDE and not claims[-1][1]:
            warnings.append(f"{name_of_element} holds a value that is no side and was ignored")
    value, _, contradictions = believed(
        "laterality",
        [
            *claims,
            ("ViewPosition", from_words(text(header, "ViewPosition"))[0]),
            ("SeriesDescription or ProtocolName", from_words(_descriptions(header))[0]),
            ("file name", from_file_name(name)[0]),
            ("PatientOrientation", from_patient_orientation(_orientation(header))[0]),
        ],
    )
    warnings += contradictions
    return value


def view(header: Dataset, name: str, warnings: list[str]) -> str:
    """The view's acronym or "" (unknown); contradictions are added to `warnings`. name: of the file."""
    codes, written = _view_codes(header), text(header, "ViewPosition")
    if written and not from_words(written)[1]:
        warnings.append("ViewPosition holds a value that is no view and was ignored")
    trusted = [
        ("ViewCodeSequence", codes[0] if codes else ""),
        ("ViewPosition", from_words(written)[1]),
    ]
    orientation = from_patient_orientation(_orientation(header))[1]
    first = next((value for _, value in trusted if value), "")
    if first in {"MLO": _LATERAL, "CC": _AXIAL}.get(orientation, ()):
        orientation = ""  # it says no more than that
    words, file_name = from_words(_descriptions(header))[1], from_file_name(name)[1]
    value, _, contradictions = believed(
        "view",
        [
            *trusted,
            ("PatientOrientation", orientation),
            ("SeriesDescription or ProtocolName", words),
            ("file name", file_name),
        ],
    )
    warnings += contradictions
    return value


def _orientation(header: Dataset) -> list[str]:
    value = header.get("PatientOrientation")
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str) else list(value)


def spacing(header: Dataset, warnings: list[str]) -> tuple[tuple[float, float] | None, str]:
    """((mm a row, mm a column), the element it is from), or (None, "")."""
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        try:
            rows, columns = (float(v) for v in header.get(name) or ())
        except (TypeError, ValueError):
            continue
        if 0.005 <= rows <= 2 and 0.005 <= columns <= 2:
            if abs(rows / columns - 1) > _SQUARE:
                warnings.append(
                    f"pixels are not square, by {name} of {rows:g} x {columns:g} mm; kept as they are"
                )
            return (rows, columns), name
        warnings.append(f"{name} of {rows:g} x {columns:g} mm was not believed")
    return None, ""


def device(header: Dataset) -> str:
    """Manufacturer and model, at most 40 plain characters, "" if neither is given: it is shown in reports."""
    words = f"{text(header, 'Manufacturer')} {text(header, 'ManufacturerModelName')}"
    return " ".join(re.sub(r"[^\w.,()/+ -]", " ", words, flags=re.ASCII).split())[:40].strip()


def patient(header: Dataset, warnings: list[str]) -> str:
    """The file's PatientID, "" if it is absent or a placeholder, which is added to `warnings`.

    In CBIS-DDSM the PatientID differs between the views of one patient: there it is the P_nnnnn within.
    """
    identifier = text(header, "PatientID")
    if match := _CBIS_ID.match(identifier):
        return match[1]
    if identifier.upper() in _NOBODY:
        if identifier:
            warnings.append("PatientID is a placeholder; the patient is unknown")
        return ""
    return identifier
