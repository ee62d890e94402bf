"""Every file is accounted for: used, dropped by the label rule, or rejected with a reason."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mammojax.runs.files import writing


@dataclass(frozen=True)
class Account:
    """The fate of one file. file: path relative to the source. reason: empty for used files."""

    file: str
    fate: Literal["used", "dropped", "rejected"]
    reason: str = ""


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
    """Writes `accounts.csv` (every file) and `rejected.csv` (file, reason)."""
    with writing(Path(folder) / "accounts.csv", "w") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "fate", "reason"])
        writer.writerows((a.file, a.fate, a.reason) for a in accounts)
    with writing(Path(folder) / "rejected.csv", "w") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "reason"])
        writer.writerows((a.file, a.reason) for a in accounts if a.fate == "rejected")


def read_accounts(folder: Path) -> list[Account]:
    """The accounts of a prepared data set."""
    with (Path(folder) / "accounts.csv").open(encoding="utf-8", newline="") as file:
        return [Account(row["file"], row["fate"], row["reason"]) for row in csv.DictReader(file)]
