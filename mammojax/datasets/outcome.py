"""What became of a file, and where that lies in the work folder until the set is packed.

Two files: NAME.npz (pixels, tissue, a small copy for the contact sheets) and NAME.json (the outcome). Who only packs needs
nothing that reads pictures, which takes seconds to load.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mammojax.datasets.record import Record
from mammojax.runs.files import write_json


@dataclass(frozen=True)
class Outcome:
    """What became of one file. record: None if it was rejected for `reason`. patient_from: "table" or "header".
    header_patient: salted hash of the header's patient, "" if it names none. lesions: see `Source`. acquisition: JSON
    values of `Acquisition`, {} without a record."""

    record: Record | None
    reason: str = ""
    patient_from: str = ""
    header_patient: str = ""
    lesions: tuple[dict, ...] = ()
    acquisition: dict = field(default_factory=dict)


def write_outcome(work: Path, file: str, outcome: Outcome) -> None:
    """Last of all: with it the file is done."""
    write_json(
        outcome_path(work, file), {**asdict(outcome), "record": outcome.record and outcome.record.to_json()}
    )


def note_crash(work: Path, file: str, reason: str) -> None:
    """The outcome of a file that ended the process that read it."""
    write_outcome(work, file, Outcome(None, reason))


def outcome_path(work: Path, file: str) -> Path:
    """Where the outcome of a file lies, once it is done. file: as in `Source`."""
    return work / f"{_stem(file)}.json"


def pixels_path(work: Path, file: str) -> Path:
    """Where its pixels lie: image, tissue; small, small_bits, small_box, small_mask of the reduced whole picture."""
    return work / f"{_stem(file)}.npz"


def read_outcome(work: Path, file: str) -> Outcome:
    """The outcome of a file that is done."""
    value = json.loads(outcome_path(work, file).read_text(encoding="utf-8"))
    record = value["record"] and Record.from_json(value["record"])
    return Outcome(**{**value, "record": record, "lesions": tuple(value["lesions"])})


def _stem(file: str) -> str:
    return hashlib.sha256(file.encode()).hexdigest()[:20]
