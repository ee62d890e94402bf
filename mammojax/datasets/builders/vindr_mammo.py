"""VinDr-Mammo (Nguyen et al. 2023): 5,000 digital exams of four views, BI-RADS of each breast, boxes of findings."""

import ast
from collections.abc import Callable
from pathlib import Path

from mammojax.datasets.builder import MammogramBuilder
from mammojax.datasets.labels import Facts
from mammojax.datasets.layout import ByImage, copy_note, files_below, opened, pictures, plain, stem
from mammojax.datasets.record import Source
from mammojax.datasets.table import Row, Table, read_table
from mammojax.errors import UserError
from mammojax.images.views import VIEWS, side_of

_BREASTS, _FINDINGS = "breast-level_annotations.csv", "finding_annotations.csv"
_NO_FINDING = "no finding"
_PARTS = {"training": "train", "train": "train", "test": "test"}
_BREAST_COLUMNS = ("study_id", "image_id", "laterality", "view_position", "breast_birads", "split")
_FINDING_COLUMNS = ("image_id", "finding_categories", "xmin", "ymin", "xmax", "ymax")


class VindrMammo(MammogramBuilder):
    """VinDr-Mammo: full-field digital mammograms with BI-RADS of each breast; PhysioNet, restricted access."""

    SCHEMES = ("birads_4_vs_2", "birads_4_vs_3", "abnormal")
    SPLITS = ("train", "test")
    HOW = (
        "sign PhysioNet's agreement for VinDr-Mammo, download it and give the folder that holds images and "
        f"{_BREASTS}; copies as PNG or JPEG named by image_id are taken too"
    )
    SIGN = r"(^|/)(breast-level_annotations|finding_annotations)\.csv$"

    @staticmethod
    def find(
        source: Path,
        workspace: Path,
        *,
        workers: int = 0,
        track: Callable | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> list[Source]:
        """See `MammogramBuilder.find`. The exam is the patient; a breast's BI-RADS is the label of both its views."""
        source = opened(source, workspace, say=say)
        names = list(files_below(source))
        tables = {Path(name).name.lower(): source / name for name in reversed(names)}  # the first of a name
        if _BREASTS not in tables:
            raise UserError(f"{source} is not VinDr-Mammo: {_BREASTS} is absent; {VindrMammo.HOW}")
        table = _table(tables[_BREASTS], _BREAST_COLUMNS)
        findings = _findings(tables[_FINDINGS]) if _FINDINGS in tables else None
        by_image = ByImage((stem(picture), picture) for picture in pictures(source, names))
        found = []
        for row in table.rows:
            found += _sources(source, row, by_image.files(row.values["image_id"]), findings)
        return [*found, *(Source(name, source / name, "", None) for name in by_image.unlisted())]


def _table(path: Path, columns: tuple[str, ...]) -> Table:
    table = read_table(path)
    if not set(columns) <= set(table.columns):
        raise UserError(
            f"{path} has the columns {', '.join(table.columns[:20])}; expected {', '.join(columns)}; download it again"
        )
    return table


def _sources(root: Path, row: Row, files: list[str], findings: dict[str, list[dict]] | None) -> list[Source]:
    values = row.values
    mine = None if findings is None else findings.get(plain(values["image_id"]), [])
    facts = Facts(birads=values["breast_birads"] or None, abnormal=None if mine is None else bool(mine))
    parts = tuple(filter(None, [_PARTS.get(values["split"].lower())]))
    missing = "" if files else f"listed in {_BREASTS}, but the file is absent"
    found = []
    for name in files or [f"images/{values['study_id']}/{values['image_id']}.dicom"]:
        note = copy_note(root / name)
        found.append(
            Source(
                file=name,
                path=root / name,
                patient=values["study_id"],
                laterality=side_of(values["laterality"]),
                view=values["view_position"].upper() if values["view_position"].upper() in VIEWS else "",
                facts=facts,
                # a copy may be of another size
                lesions=tuple(lesion for lesion in mine or () if "row" in lesion and not note),
                missing=missing,
                warnings=note,
                left_out=""
                if name in files[:1] or missing
                else "a copy of an image that is there in a better form",
                parts=parts,
                shape=None if note else _shape(values),
            )
        )
    return found


def _shape(values: dict[str, str]) -> tuple[int, int] | None:
    """Rows and columns by the table, None where it does not tell them."""
    told = [plain(values.get(column, "")) for column in ("height", "width")]
    return tuple(map(int, told)) if all(map(str.isdecimal, told)) else None


def _findings(path: Path) -> dict[str, list[dict]]:
    """Findings by image: their kinds and, where a box is given, the circle around it in pixels of the original."""
    images: dict[str, list[dict]] = {}
    for row in _table(path, _FINDING_COLUMNS).rows:
        kinds = _kinds(row.values["finding_categories"])
        if not kinds:
            continue
        place = {}
        try:
            left, top, right, bottom = (float(row.values[c]) for c in ("xmin", "ymin", "xmax", "ymax"))
            place = {
                "row": (top + bottom) / 2,
                "column": (left + right) / 2,
                "radius": max(bottom - top, right - left) / 2,
            }
        except ValueError:  # a finding of the whole breast has no box
            pass
        images.setdefault(plain(row.values["image_id"]), []).append({"kind": ", ".join(kinds), **place})
    return images


def _kinds(text: str) -> list[str]:
    """The finding categories in a cell, a Python list in text; none for `['No Finding']`."""
    try:
        kinds = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        kinds = [text]
    kinds = [str(kind) for kind in kinds] if isinstance(kinds, list | tuple) else [text]
    return [kind for kind in kinds if kind and kind.casefold() != _NO_FINDING]
