"""A folder of pictures and a CSV, the form of the paper's private IMG set; any column can be mapped by flag."""

import csv
import io
from pathlib import Path

from mammojax.datasets.builder import MammogramBuilder
from mammojax.datasets.labels import Facts
from mammojax.datasets.record import Source
from mammojax.errors import UserError
from mammojax.images.reading.any_file import is_image_file

_TRUE = {"1", "1.0", "true", "yes", "y", "positive", "pos", "malignant", "cancer"}
_FALSE = {"0", "0.0", "false", "no", "n", "negative", "neg", "benign", "normal"}


def _truth(text: str) -> int | None:
    text = text.strip().lower()
    return 1 if text in _TRUE else 0 if text in _FALSE else None


def _read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV with `,` or `;`, with or without a byte-order mark; fields stripped."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = path.read_text(encoding="latin-1")
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    return [
        {(k or "").strip(): (v or "").strip() for k, v in row.items() if isinstance(v, str)} for row in rows
    ]


class Folder(MammogramBuilder):
    """Pictures in a folder, described by a CSV: path, patient, and label or BI-RADS."""

    SCHEMES = ("label", "birads_4_vs_2", "birads_4_vs_3", "malignant", "abnormal")
    HOW = (
        "give a folder with the pictures (DICOM, PNG, TIFF, PGM) and a CSV in it with the columns path, patient and "
        "label or birads (other names: --config.data.folder.<field>=<column>)"
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
    ) -> list[Source]:
        """See `MammogramBuilder.find`.

        csv: name of the CSV in the folder, "" to take the only one. path ... split: names of its columns; optional
        ones may be absent. keep_split: if set, only rows with this value in the split column are listed.
        """
        if not source.is_dir():
            raise UserError(f"{source} is not a folder; {Folder.HOW}")
        tables = [source / csv] if csv else sorted(source.glob("*.csv"))
        if len(tables) != 1 or not tables[0].is_file():
            what = f"{csv} is absent" if csv else f"{len(tables)} CSV files"
            raise UserError(f"{source}: {what}, one CSV expected; name it with --config.data.folder.csv")
        rows = _read_rows(tables[0])
        columns = set(rows[0]) if rows else set()
        if path not in columns or not {label, birads} & columns:
            raise UserError(
                f"{tables[0]} has the columns {', '.join(sorted(columns)) or 'none'}; expected {path}, "
                f"{patient} and {label} or {birads}; map them with --config.data.folder.<field>"
            )
        found, listed = [], set()
        root = source.resolve()
        for row in rows:
            name = row[path].replace("\\", "/")
            file = (root / name).resolve()
            listed.add(file)
            if keep_split and row.get(split, "") != keep_split:
                continue
            missing = ""
            if not file.is_relative_to(root):
                missing = "the path leads out of the folder"
            elif not file.is_file():
                missing = "listed in the CSV, but the file is absent"
            truth = _truth(row.get(label, ""))
            found.append(
                Source(
                    file=name,
                    path=file,
                    patient=row.get(patient, ""),
                    laterality=row.get(laterality, "").upper()[:1],
                    view=row.get(view, "").upper(),
                    facts=Facts(
                        birads=row.get(birads) or None,
                        label=truth,
                        malignant=None if truth is None else bool(truth),
                        abnormal=None if truth is None else bool(truth),
                    ),
                    missing=missing,
                )
            )
        for file in sorted(root.rglob("*")):
            if file not in listed and file.is_file() and is_image_file(file):
                found.append(
                    Source(file=file.relative_to(root).as_posix(), path=file, patient="", facts=None)
                )
        return found
