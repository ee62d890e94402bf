"""A folder of pictures and a CSV, the form of the paper's private IMG set; any column can be mapped."""

import dataclasses
import functools
import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from mammojax.datasets.builder import MammogramBuilder
from mammojax.datasets.labels import facts_of
from mammojax.datasets.layout import files_below, pictures, plain, stem
from mammojax.datasets.listing import printable
from mammojax.datasets.patients import identity, placeholders, shortened
from mammojax.datasets.record import Source
from mammojax.datasets.table import Row, Table, find_table, read_table
from mammojax.errors import UserError
from mammojax.images.views import VIEWS, from_words, side_of, unusable_kind

HEADER = "header"  # as the name of the patient's column: every patient is taken from the files' headers
_LIKELY = {  # names that other tables give to the columns, without case, blanks and punctuation
    "path": ("filename", "file", "filepath", "image", "imageid", "imagepath", "imagefile", "picture"),
    "patient": ("patientid", "patientno", "case", "caseid", "subject", "subjectid", "study", "studyid"),
    "label": ("labels", "pathology", "classification", "class", "cancer", "malignant", "diagnosis", "target"),
    "birads": ("birad", "breastbirads", "assessment", "biradsassessment", "biradscategory"),
}

_VIEWS_IN_WORDS = {
    "craniocaudal": "CC",
    "craneocaudal": "CC",
    "kraniokaudal": "CC",
    "mediolateraloblique": "MLO",
    "obliquemediolateral": "MLO",
    "oblique": "MLO",
    "oblicua": "MLO",
    "mediolateral": "ML",
    "lateromedial": "LM",
}


class Folder(MammogramBuilder):
    """Pictures in a folder, described by a CSV: path, patient, and label or BI-RADS."""

    SCHEMES = ("label", "birads_4_vs_2", "birads_4_vs_3", "malignant", "abnormal")
    HOW = (
        "give a folder with the pictures (DICOM, PNG, TIFF, PGM, JPEG) and a CSV in it with the columns path, patient and "
        "label or birads (other names: data.folder.<field>=<column>)"
    )

    @staticmethod
    def find(
        source: Path,
        workspace: Path,
        *,
        csv: str,
        path: str,
        patient: str,
        label: str,
        birads: str,
        laterality: str,
        view: str,
        split: str,
        keep_split: str,
        workers: int = 0,
        track: Callable | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> list[Source]:
        """See `MammogramBuilder.find`.

        csv: name of the CSV in the folder, "" to take the only one. path ... split: names of its columns; those of
        side, view and split may be absent, and one of label and birads. patient: `HEADER` takes the headers' patients.
        keep_split: if set, pictures that no row has with this value in the split column are left out.
        """
        if not source.is_dir():
            raise UserError(f"{source} is not a folder; {Folder.HOW}")
        file = find_table(source, csv)
        table = read_table(file)
        asked = {"path": path, "patient": patient, "label": label, "birads": birads}
        columns = {field: table.column(name) for field, name in asked.items()}
        columns |= {"laterality": table.column(laterality), "view": table.column(view)}
        if patient == HEADER:
            columns["patient"] = ""
        if not columns["path"] or not (columns["label"] or columns["birads"]):
            raise UserError(_no_columns(file, table, asked))
        if not columns["patient"] and patient != HEADER:
            raise UserError(
                f"{_no_columns(file, table, asked)}. Patients are taken from the headers with "
                f"data.folder.patient={HEADER}"
            )
        kept = _kept(file, table, split, keep_split)
        written = {row.values.get(columns["path"], "") for row in table.rows}
        films = _Pictures(source, table.encoding, written)
        found = [_source(row, columns, file, films) for row in table.rows]
        inside = {source.file for source, keep in zip(found, kept) if keep}
        found = [
            one
            if one.file in inside  # all that the table says of it counts
            else dataclasses.replace(one, facts=None, left_out=f"outside the split {keep_split} of the table")
            for one in found
        ]
        parted = _patients(found, bool) & _patients(found, lambda left_out: not left_out)
        if parted:
            say(
                f"the split {keep_split} of {file.name} is not patient-wise: {len(parted)} patients have pictures in it and "
                "outside of it"
            )
        if columns["patient"]:
            _refuse_nobody(file, columns["patient"], found)
        listed = {films.place(one.file) for one in found}
        found += [
            Source(file=name, path=source / name, patient="", facts=None)
            for name in films.all
            if films.place(name) not in listed
        ]
        return found


def _source(row: Row, columns: dict[str, str], table: Path, pictures: "_Pictures") -> Source:
    values = {field: row.values.get(column, "") for field, column in columns.items()}
    warnings = []
    side, view = side_of(values["laterality"]), _view_of(values["view"])
    for what, word, value in (("laterality", values["laterality"], side), ("view", values["view"], view)):
        if word and not value:
            warnings.append(f"{what} {printable(word)[:40]!r} in the table is not understood")
    if kind := unusable_kind(values["view"]):
        warnings.append(f"the table's view says {kind}; kept as a whole mammogram")
    if values["path"]:
        name, missing = pictures.find(values["path"])
        if not missing and row.surplus:
            missing = "its row has more fields than the table has columns"
    else:
        name, missing = f"{table.name}, line {row.line}", "a row without a path"
    return Source(
        file=name,
        path=pictures.root / name,
        patient=values["patient"],
        laterality=side,
        view=view,
        facts=facts_of(printable(values["label"]), printable(values["birads"])),
        missing=missing,
        warnings=tuple(warnings),
    )


def _view_of(text: str) -> str:
    """The view that a cell of a view's column names, one of `VIEWS`, "" if it names none or is not understood."""
    letters = "".join(filter(str.isalpha, text.casefold()))
    return (
        letters.upper()
        if letters.upper() in VIEWS
        else _VIEWS_IN_WORDS.get(letters, "") or from_words(text)[1]
    )


class _Pictures:
    """Finds the pictures that a table names, below a folder. written: all names in it."""

    def __init__(self, root: Path, encoding: str, written: Iterable[str]):
        self.root, self._encoding = root, encoding
        self._written = {plain(stem(name.replace("\\", "/"))) for name in written}
        self._real = functools.cache(os.path.realpath)

    def find(self, written: str) -> tuple[str, str]:
        """(name below the folder, "") or (name, why there is no such file).

        The name is taken as written, in other Unicode forms, in other letters' case, or, for one without suffix as in
        INbreast's table, as the only picture of that name or, where there is none, whose name goes on with `_` and is in no
        other row.
        """
        name = posixpath.normpath(written.replace("\\", "/"))
        if posixpath.isabs(name):
            name = os.path.relpath(name, self.root.absolute())
        if name == ".." or name.startswith("../"):
            return written, "the path leads out of the folder"
        composed = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
        for spelling in (name, *composed, *self._foreign(name)):
            if os.path.isfile(self.root / spelling):
                return spelling, ""
        if os.path.isdir(self.root / name):
            return name, "listed in the CSV, but it is a folder"
        fitting = self._names.get(name.casefold(), [])
        if not fitting and "/" not in name:
            fitting = self._stems.get(plain(name)) or self._beginnings.get(plain(name), [])
            for other in self._numbers.get(identity(name), []):
                if other not in fitting:
                    told = f"{other} differs by leading zeros, which a spreadsheet may have taken"
                    return name, f"listed in the CSV, but {told}"
        if len(fitting) == 1:
            return fitting[0], ""
        if fitting:
            return name, f"listed in the CSV, and {len(fitting)} files fit its name; give the suffix"
        return name, "listed in the CSV, but the file is absent"

    def _foreign(self, name: str) -> list[str]:
        """The name in the bytes of a table that is no UTF-8."""
        if self._encoding.startswith("utf"):
            return []
        return [os.fsdecode(name.encode(self._encoding))]

    def place(self, name: str) -> tuple[str, str]:
        """The same for a picture that is reached by two names of its folder."""
        folder, _, last = str(self.root / name).rpartition("/")
        return self._real(folder), last

    @functools.cached_property
    def all(self) -> list[str]:
        """Every picture below the folder; hidden files (such as `._film.dcm`) are none."""
        return pictures(self.root, files_below(self.root))

    @functools.cached_property
    def _names(self) -> dict[str, list[str]]:
        return _grouped((file.casefold(), file) for file in self.all)

    @functools.cached_property
    def _stems(self) -> dict[str, list[str]]:
        return _grouped((plain(stem(file)), file) for file in self.all)

    @functools.cached_property
    def _beginnings(self) -> dict[str, list[str]]:
        whole = ((name, files) for name, files in self._stems.items() if name not in self._written)
        return _grouped((name.partition("_")[0], file) for name, files in whole for file in files)

    @functools.cached_property
    def _numbers(self) -> dict[str, list[str]]:
        return _grouped((identity(stem(file)), file) for file in self.all if stem(file).isdecimal())


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, file in pairs:
        groups.setdefault(key, []).append(file)
    return groups


def _kept(file: Path, table: Table, split: str, keep_split: str) -> list[bool]:
    """Which rows are of the split that is asked for; UserError, naming the splits that are there, if there are none."""
    if not keep_split:
        return [True] * len(table.rows)
    column = table.column(split)
    if not column:
        raise UserError(
            f"{file} has no column {split}, which the split {keep_split} is asked for in; it has "
            f"{', '.join(table.columns)}; name it with data.folder.split"
        )
    kept = [row.values[column].casefold() == keep_split.casefold() for row in table.rows]
    if not any(kept):
        there = Counter(row.values[column] or "(empty)" for row in table.rows).most_common(5)
        raise UserError(
            f"no row of {file} has {keep_split} in the column {column}; it holds "
            f"{', '.join(f'{printable(value)[:40]} ({n} rows)' for value, n in there)}; choose with data.folder.keep_split"
        )
    return kept


def _patients(found: list[Source], chosen: Callable[[str], bool]) -> set[str]:
    """Patients of the pictures whose `left_out` is chosen."""
    return {identity(one.patient) for one in found if one.patient and chosen(one.left_out)}


def _refuse_nobody(file: Path, column: str, found: list[Source]) -> None:
    """UserError if pictures have no patient, or a word that stands for nobody: it would join different women."""
    there = [source for source in found if not (source.missing or source.left_out)]
    patients = [source.patient for source in there]
    if short := shortened(patients):
        raise UserError(
            f"the column {column} of {file} has numbers that a spreadsheet has shortened, for {len(short)} of "
            f"{len(there)} pictures (as 1.2E+11): different women become one; export the column as text"
        )
    nobody = placeholders(patients)
    if nobody:
        words = Counter(there[i].patient or "empty" for i in nobody).most_common(3)
        raise UserError(
            f"the column {column} of {file} names no patient for {len(nobody)} of {len(there)} pictures "
            f"({', '.join(printable(word)[:40] for word, _ in words)}; first {printable(there[nobody[0]].file)}); "
            f"fill it, or take all patients from the files' headers with data.folder.patient={HEADER}"
        )


def _no_columns(file: Path, table: Table, asked: dict[str, str]) -> str:
    """What the table has, what was expected, and which columns are likely meant."""
    alike = {"".join(filter(str.isalnum, column.casefold())): column for column in table.columns}
    likely = []
    for field, name in asked.items():
        if table.column(name) or name == HEADER:
            continue
        column = next((alike[key] for key in (field, *_LIKELY[field]) if key in alike), "")
        if column:
            likely.append(f"data.folder.{field}={column!r}")
    there = ", ".join(printable(c)[:40] for c in table.columns[:20]) or "none"
    hint = f"it looks like {' '.join(likely)}" if likely else "map them with data.folder.<field>=<column>"
    return (
        f"{file} has the columns {there}; expected {asked['path']}, {asked['patient']} and {asked['label']} or "
        f"{asked['birads']}; {hint}"
    )
