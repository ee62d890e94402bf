"""The first sheet of an .xlsx workbook as a table (ECMA-376 part 1, 18.3 and 18.4): values alone, no formulas, no styles."""

import re
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from mammojax.datasets.table import Row, Table
from mammojax.errors import UserError

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LARGEST = 256 << 20  # bytes of a part when unpacked: a million rows
_CELL = re.compile(r"([A-Z]{1,3})(\d{1,7})")


def read_workbook(path: Path) -> Table:
    """The first sheet: its first row names the columns, cells are stripped text, rows without any are left out.

    Raises UserError, one line, for a file that is no such workbook.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            names = parts.namelist()
            shared = _texts(_part(parts, "xl/sharedStrings.xml")) if "xl/sharedStrings.xml" in names else []
            # sheets are stored by the order in which they were made, the first one as sheet1
            sheet = ElementTree.fromstring(_part(parts, "xl/worksheets/sheet1.xml"))
        rows = [_row(row, shared) for row in sheet.iter(f"{_MAIN}row")]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; give a readable workbook") from None
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, IndexError, RuntimeError, NotImplementedError,
            EOFError, ElementTree.ParseError) as error:  # fmt: skip
        raise UserError(
            f"{path} is no readable workbook ({type(error).__name__}); download it again, or save it as CSV"
        ) from None
    rows = [(line, cells) for line, cells in rows if any(cells.values())]
    if not rows:
        raise UserError(f"{path} has no rows; download it again")
    (_, heads), *rest = rows
    columns = {place: text for place, text in heads.items() if text}
    if twice := [text for text, times in Counter(columns.values()).items() if times > 1]:
        raise UserError(f"{path} has the column {twice[0]} twice; rename one of them")
    found = tuple(
        Row(line, {name: cells.get(place, "") for place, name in columns.items()}) for line, cells in rest
    )
    return Table(tuple(columns.values()), found, "utf-8")


def _part(parts: zipfile.ZipFile, name: str) -> bytes:
    if parts.getinfo(name).file_size > _LARGEST:
        raise ValueError("too large")
    with parts.open(name) as part:
        return part.read(_LARGEST)


def _texts(data: bytes) -> list[str]:
    """The shared texts; one may be made of runs of several styles, and of readings that are no text of it (rPh)."""
    return [
        "".join(
            text.text or ""
            for part in (item, *item.findall(f"{_MAIN}r"))
            for text in part.findall(f"{_MAIN}t")
        )
        for item in ElementTree.fromstring(data).iter(f"{_MAIN}si")
    ]


def _index(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a text without a number")
    return int(text)


def _row(row: ElementTree.Element, shared: list[str]) -> tuple[int, dict[str, str]]:
    """(line, stripped text by the letters of the column)."""
    cells = {}
    for cell in row.findall(f"{_MAIN}c"):
        match = _CELL.fullmatch(cell.get("r", ""))
        if not match:
            raise ValueError("a cell without a place")
        value = cell.findtext(f"{_MAIN}v") or ""
        if cell.get("t") == "s":
            value = shared[_index(value)]
        elif cell.get("t") == "inlineStr":
            value = "".join(text.text or "" for text in cell.iter(f"{_MAIN}t"))
        cells[match[1]] = value.strip()
    return int(row.get("r", "0")), cells
