"""A CSV as people write them: any separator, encoding and line end, short rows, footers; each row with its line number."""

import codecs
import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mammojax.errors import UserError

_MOST_COLUMNS = 10_000
_SEPARATORS = ",;\t|"
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Row:
    """One row. line: where it ends in the file, from 1. values: by column, stripped, "" where the row is too short.
    surplus: how many fields it has beyond the last column, empty ones not counted."""

    line: int
    values: dict[str, str]
    surplus: int = 0


@dataclass(frozen=True)
class Table:
    """A CSV's columns and its rows that are not empty. encoding: that its bytes were read in."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    encoding: str

    def column(self, name: str) -> str:
        """The column of this name, whatever its letters' case; "" if there is none."""
        if name in self.columns:
            return name
        alike = [c for c in self.columns if c.casefold() == name.casefold()]
        return alike[0] if len(alike) == 1 else ""


def find_table(folder: Path, name: str) -> Path:
    """The CSV of a folder. name: its file name, "" for the only one; hidden files (such as `._labels.csv`) do not count.

    Raises UserError that names what is there.
    """
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith(".") or p.name == name)
    found = [p for p in entries if p.suffix.lower() == ".csv" and p.is_file()]
    if name:
        exact = [p for p in entries if p.name == name and p.is_file()]
        chosen = exact or [p for p in entries if p.name.casefold() == name.casefold() and p.is_file()]
        if not chosen and (folder / name).is_file():  # in a folder below
            chosen = [folder / name]
        what = f"{name} is absent"
    else:
        chosen, what = found, f"{len(found)} CSV files"
    if len(chosen) == 1:
        return chosen[0]
    sheets = [p for p in entries if p.suffix.lower() in (".xls", ".xlsx", ".ods", ".tsv")]
    if found:
        there = f" ({', '.join(p.name for p in found[:4])}{', ...' if len(found) > 4 else ''} are there)"
    else:
        there = f" ({sheets[0].name} is there: save it as CSV)" if sheets else ""
    raise UserError(f"{folder}: {what}{there}, one CSV expected; name it with data.folder.csv")


def read_table(path: Path) -> Table:
    """The table in a CSV. Fields are parted by the one of `, ; tab |` that parts the first row most, and stripped.

    UTF-8 with or without mark, UTF-16 with mark, else Windows-1252 (or, with bytes that it has not, Latin-1).
    Raises UserError, one line that names the line, for a file that is no such table: nothing is read by halves.
    """
    try:
        text, encoding = _decoded(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; give a readable CSV") from None
    if "\0" in text:
        raise UserError(f"{path} holds NUL bytes, so it is no CSV or is damaged; save it as CSV in UTF-8")
    lines = io.StringIO(text, newline="").readlines()
    separator, skipped = "", 0
    if named := re.fullmatch(r"sep=(\S|\t)\s*", "".join(lines[:1]), re.IGNORECASE):
        separator, skipped, lines = named[1], 1, lines[1:]  # as Excel writes it
    separator = separator or max(_SEPARATORS, key=lambda s: _width(lines, s))
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    columns: tuple[str, ...] = ()
    rows = []
    try:
        for fields in reader:
            fields = [_cell(field) for field in fields]
            if not any(fields):
                continue
            if not columns:
                columns = _columns(path, fields)
                continue
            values = dict(zip(columns, [*fields, *[""] * len(columns)]))
            surplus = sum(map(bool, fields[len(columns) :]))
            values.pop("", None)
            rows.append(Row(reader.line_num + skipped, values, surplus))
    except csv.Error as error:
        raise UserError(
            f"{path} is no readable CSV near line {reader.line_num + skipped} ({error}); "
            "look for a quotation mark that is not closed"
        ) from None
    return Table(tuple(c for c in columns if c), tuple(rows), encoding)


def _width(lines: list[str], separator: str) -> int:
    """Fields of the first row that is not empty, which may go over several lines; 0 where it cannot be read so."""
    try:
        rows = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
        return next((len(fields) for fields in rows if any(map(str.strip, fields))), 0)
    except csv.Error:
        return 0


def _cell(field: str) -> str:
    """A field without blanks around it, and without the `="007"` by which spreadsheets are told that it is text."""
    text = field.strip()
    match = re.fullmatch(r'="([^"]*)"', text)
    return match[1].strip() if match else text


def _columns(path: Path, fields: list[str]) -> tuple[str, ...]:
    while fields and not fields[-1]:
        fields.pop()
    if len(fields) > _MOST_COLUMNS:
        raise UserError(f"{path} has {len(fields)} columns, at most {_MOST_COLUMNS} are read; save it as CSV")
    twice = sorted(name for name, times in Counter(fields).items() if name and times > 1)
    if twice:
        raise UserError(f"{path} has the column {twice[0]} twice; rename one of them")
    return tuple(fields)


def _decoded(data: bytes) -> tuple[str, str]:
    candidates = ["utf-8", "cp1252", "latin-1"]
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            candidates.insert(0, encoding)
    for encoding in candidates:
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 decodes anything")
