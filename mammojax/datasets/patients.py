"""Whose picture it is: words that stand for nobody must not join different women."""

import re
from collections.abc import Sequence

_PLACEHOLDERS = {
    "", "anon", "anonym", "anonymised", "anonymized", "anonymous", "blank", "confidential", "deidentified", "deleted",
    "dummy", "empty", "hidden", "id", "masked", "missing", "n", "na", "nan", "nil", "no", "noid", "noname", "none",
    "notavailable", "null", "patient", "patientid", "redacted", "removed", "undefined", "unk", "unknown", "void", "xxx",
}  # fmt: skip


def is_placeholder(patient: str) -> bool:
    """Whether an identifier stands for nobody: empty, `removed`, `N/A`, `Anonymous^Patient`, `0`, `000`, `---`, `?`."""
    plain = re.sub(r"[\W_]+", "", patient.casefold())
    words = [w for w in re.split(r"[\W_]+", patient.casefold()) if w]
    return plain in _PLACEHOLDERS or not plain.strip("0x") or all(w in _PLACEHOLDERS for w in words)


def placeholders(patients: Sequence[str]) -> list[int]:
    """The positions of identifiers that stand for nobody in a table's column.

    A 0 is a patient where all are whole numbers and 1 is among them: somebody counted from 0.
    """
    counted = "1" in patients and all(p.isdecimal() for p in patients)
    return [i for i, p in enumerate(patients) if is_placeholder(p) and not (counted and p == "0")]
