"""Every file is accounted for: used, dropped by the label rule, or rejected with a reason."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mammojax.runs.files import writing

COLUMNS = ("number", "file", "fate", "reason", "patient_from", "warnings")
_BETWEEN = " | "  # warnings of one file


@dataclass(frozen=True)
class Account:
    """The fate of one file.

    number: of the file, from 1, by name among all that were found; what pictures and reports show in place of the
    name. file: path relative to the source. reason: empty for used files. patient_from: "table" or "header", who said
    whose picture it is; empty for files that were not used. warnings: what a reader should know.
    """

    number: int
    file: str
    fate: Literal["used", "dropped", "rejected"]
    reason: str = ""
    patient_from: str = ""
    warnings: tuple[str, ...] = ()


def counts(accounts: Sequence[Account]) -> dict[str, int]:
    """Number of files found and of each fate; found = used + dropped + rejected."""
    fates = Counter(a.fate for a in accounts)
    return {"found": len(accounts), **{fate: fates[fate] for fate in ("used", "dropped", "rejected")}}


def reasons(accounts: Sequence[Account]) -> list[tuple[str, str, int]]:
    """(fate, reason, number of files) of all that was not used, most frequent first."""
    tally = Counter((a.fate, a.reason) for a in accounts if a.fate != "used")
    return [
        (fate, reason, n) for (fate, reason), n in sorted(tally.items(), key=lambda item: (-item[1], item[0]))
    ]


def write_accounts(folder: Path, accounts: Sequence[Account]) -> None:
    """Writes `accounts.csv` (every file) and `rejected.csv` (number, file, reason)."""
    with writing(Path(folder) / "accounts.csv", "w") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(
            (a.number, a.file, a.fate, a.reason, a.patient_from, _BETWEEN.join(a.warnings)) for a in accounts
        )
    with writing(Path(folder) / "rejected.csv", "w") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "file", "reason"])
        writer.writerows((a.number, a.file, a.reason) for a in accounts if a.fate == "rejected")


def read_accounts(folder: Path) -> list[Account]:
    """The accounts of a prepared data set."""
    with (Path(folder) / "accounts.csv").open(encoding="utf-8", newline="") as file:
        return [
            Account(
                int(row["number"]),
                row["file"],
                row["fate"],
                row["reason"],
                row["patient_from"],
                tuple(row["warnings"].split(_BETWEEN)) if row["warnings"] else (),
            )
            for row in csv.DictReader(file)
        ]
