"""Whose picture it is: words that stand for nobody must not join different women, ways to write a name not part one."""

import re
import unicodedata
from collections.abc import Sequence

_PLACEHOLDERS = {
    "", "anon", "anonym", "anonymised", "anonymized", "anonymous", "blank", "confidential", "deidentified", "deleted",
    "dummy", "empty", "hidden", "id", "masked", "missing", "n", "na", "nan", "nil", "no", "noid", "noname", "none",
    "notavailable", "null", "patient", "patientid", "redacted", "removed", "undefined", "unk", "unknown", "void", "xxx",
}  # fmt: skip


def is_placeholder(patient: str) -> bool:
    """Whether an identifier stands for nobody: empty, `removed`, `N/A`, `Anonymous^Patient`, `0`, `000`, `-1`, `?`."""
    if re.fullmatch(r"-\s*\d+(\.0*)?", patient.strip()):  # what programs write where a number is missing
        return True
    plain = re.sub(r"[\W_]+", "", patient.casefold())
    words = [w for w in re.split(r"[\W_]+", patient.casefold()) if w]
    return plain in _PLACEHOLDERS or not plain.strip("0x") or all(w in _PLACEHOLDERS for w in words)


def identity(patient: str) -> str:
    """One spelling of an identifier for all ways that people and spreadsheets write it: letters' case, blanks, forms of
    Unicode, and of whole numbers the leading zeros and a decimal (`007`, `7`, `7.0`, `7,0`).

    Two women who are taken for one cost a fold its balance; one woman who is taken for two is trained and tested on.
    """
    text = "".join(c for c in unicodedata.normalize("NFKC", patient) if unicodedata.category(c) != "Cf")
    plain = " ".join(text.casefold().split())
    number = re.fullmatch(r"0*(\d+)(?:\.0*|,0)?", plain)
    return number[1] if number else plain


def shortened(patients: Sequence[str]) -> list[int]:
    """The positions of long numbers that a spreadsheet has shortened, such as `1.23457E+11`: several women share one."""
    return [i for i, p in enumerate(patients) if re.fullmatch(r"\d([.,]\d+)?[eE]\+\d+", p.strip())]


def placeholders(patients: Sequence[str]) -> list[int]:
    """The positions of identifiers that stand for nobody in a table's column.

    A 0 is a patient where all are whole numbers and 1 is among them: somebody counted from 0.
    """
    counted = "1" in patients and all(p.isdecimal() for p in patients)
    return [i for i, p in enumerate(patients) if is_placeholder(p) and not (counted and p == "0")]
