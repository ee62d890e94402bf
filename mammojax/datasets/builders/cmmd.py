"""CMMD (Cui et al. 2021): 5,202 digital images of 1,775 patients, proven benign or malignant, 1,872 breasts labelled."""

import re
from collections.abc import Callable
from pathlib import Path

from mammojax.datasets.builder import MammogramBuilder
from mammojax.datasets.labels import UNLABELLED, Facts, facts_of, worst
from mammojax.datasets.layout import copy_note, files_below, opened, pictures
from mammojax.datasets.record import Source
from mammojax.datasets.table import Table, read_table
from mammojax.datasets.workbook import read_workbook
from mammojax.errors import UserError
from mammojax.images.reading.peek import peek
from mammojax.images.views import side_of

_PATIENT = re.compile(r"(?<![A-Za-z0-9])D[12]-\d{4}(?!\d)", re.IGNORECASE)
_COLUMNS = ("ID1", "LeftRight", "classification")


class Cmmd(MammogramBuilder):
    """CMMD: full-field digital mammograms of breasts with a proven finding; CC BY 4.0."""

    SCHEMES = ("malignant", "unlabelled_negative")
    HOW = (
        "download the collection CMMD and CMMD_clinicaldata_revision.xlsx from The Cancer Imaging Archive into one "
        "folder, which holds folders such as D1-0001"
    )
    SIGN = r"(^|/)D[12]-\d{4}/|CMMD_clinicaldata"

    @staticmethod
    def find(
        source: Path,
        workspace: Path,
        *,
        workers: int = 0,
        track: Callable = lambda it, **_: it,
        say: Callable[[str], None] = lambda text: None,
    ) -> list[Source]:
        """See `MammogramBuilder.find`. Labels are of a breast, and files tell in their headers alone which they show.

        Of 729 patients one breast is labelled and both are there: the other's images have no label, and are left out
        unless the scheme unlabelled_negative is asked for.
        """
        source = opened(source, workspace, say=say)
        names = list(files_below(source))
        listed_in, table = _table(source, names)
        rows: dict[tuple[str, str], list[Facts]] = {}
        for row in table.rows:
            patient, side, word = (row.values[column] for column in _COLUMNS)
            rows.setdefault((patient.upper(), side_of(side)), []).append(facts_of(word))
        labels = {breast: worst(facts) for breast, facts in rows.items()}
        patients = {patient for patient, _ in labels}
        found, seen = [], set()
        films = pictures(source, names)
        for name in track(films, total=len(films), description="reading sides"):
            match = _PATIENT.search(name)
            patient = match[0].upper() if match else ""
            if patient not in patients:
                found.append(Source(name, source / name, "", None))
                continue
            told = peek(source / name)
            seen.add((patient, told.laterality))
            unlisted = (
                "" if (patient, "") in labels else UNLABELLED
            )  # a row whose side is not understood may mean it
            found.append(
                Source(
                    file=name,
                    path=source / name,
                    patient=patient,
                    laterality=told.laterality,
                    view=told.view,
                    facts=labels.get((patient, told.laterality), facts_of(unlisted)),
                    missing=""
                    if told.laterality
                    else "it does not tell its side, which labels are listed by",
                    warnings=copy_note(source / name),
                )
            )
        for patient, side in sorted(labels.keys() - seen):
            name, missing = (
                f"{patient}/{side}",
                f"listed in {listed_in}, but no image of it is there",
            )
            found.append(Source(name, source / name, patient, labels[patient, side], missing=missing))
        return found


def _table(source: Path, names: list[str]) -> tuple[str, Table]:
    """(name, clinical table); a copy of it as CSV counts too."""
    tables = [n for n in names if re.search(r"CMMD_clinicaldata[^/]*\.(xlsx|csv)$", n, re.IGNORECASE)]
    if not tables:
        raise UserError(f"{source} is not CMMD: CMMD_clinicaldata_revision.xlsx is absent; {Cmmd.HOW}")
    name = min(tables, key=lambda n: (n.count("/"), n))
    path = source / name
    table = read_workbook(path) if name.lower().endswith(".xlsx") else read_table(path)
    if not set(_COLUMNS) <= set(table.columns):
        raise UserError(
            f"{path} has the columns {', '.join(table.columns[:20])}; expected {', '.join(_COLUMNS)}; download it again"
        )
    return name, table
