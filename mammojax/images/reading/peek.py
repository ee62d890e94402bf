"""What a DICOM header says of side, view, patient and size, without its pixels: milliseconds a file, on a disk that is near."""

import io
from dataclasses import dataclass, field
from pathlib import Path

from mammojax.images.reading.starts import starts_as_dicom
from mammojax.images.views import from_file_name

_BYTES = (
    1 << 18
)  # headers are a few kilobytes; icons and private elements may stand before what is looked for


@dataclass(frozen=True)
class Peek:
    """laterality: "L", "R" or "". view: its acronym or "". patient: PatientID as it stands there; never to be printed.
    shape: rows and columns that are declared, (0, 0) if none are."""

    laterality: str = ""
    view: str = ""
    patient: str = field(default="", repr=False)
    shape: tuple[int, int] = (0, 0)


def peek(path: Path) -> Peek:
    """What a file says by its header, or by its name if it is no DICOM; nothing where it cannot be told.

    What is wrong with a file is no matter of this: it is rejected, with its reason, when it is read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES)
    except OSError:
        return Peek()
    if not starts_as_dicom(data[:132]):
        return Peek(*from_file_name(path.name))

    import pydicom  # see `starts`
    from pydicom import uid

    from mammojax.images.reading import header as dicom_header
    from mammojax.images.reading.dicom import silent_pydicom
    from mammojax.images.reading.elements import settled

    if uid.DeflatedExplicitVRLittleEndian.encode() in data[:4096]:
        return Peek()
    with silent_pydicom():
        try:
            found = pydicom.dcmread(io.BytesIO(data), force=True, stop_before_pixels=True)
            settled(found)
            side, view = (of(found, path.name, []) for of in (dicom_header.laterality, dicom_header.view))
            shape = int(found.get("Rows") or 0), int(found.get("Columns") or 0)
            return Peek(side, view, dicom_header.text(found, "PatientID"), shape)
        except MemoryError:
            raise
        except Exception:  # a foreign file can make a parser raise anything
            return Peek()
