"""INbreast (Moreira et al. 2012): 410 full-field digital images of 108 patients, 70 micron pixels, BI-RADS an image."""

import plistlib
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from mammojax.datasets.builder import MammogramBuilder
from mammojax.datasets.builders.folder import Folder
from mammojax.datasets.labels import Facts
from mammojax.datasets.layout import ByImage, copy_note, files_below, opened, pictures, stem
from mammojax.datasets.record import Source
from mammojax.datasets.table import Table, read_table
from mammojax.errors import UserError
from mammojax.images.views import side_of
from mammojax.settings.tree import Folder as FolderColumns

# 20586908_6c613a14b80a8591_MG_R_CC_ANON: the image, the patient, side and view
_NAME = re.compile(r"(\d{8})_([0-9a-f]{16})_MG_([LR])_(CC|ML|MLO|FB)", re.IGNORECASE)
_NUMBER = re.compile(r"(\d{8})(?:\.0*|,0)?")  # of an image; Excel makes a decimal of it
_POINT = re.compile(r"\(\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*\)")
_SPACING = (0.07, 0.07)  # mm, of the originals
_LEAST_RADIUS = 5.0  # pixels; single calcifications are marked by one point
_OWN_COLUMNS = ("File Name", "Bi-Rads")


class Inbreast(MammogramBuilder):
    """INbreast: full-field digital mammograms with BI-RADS of each image; research use, given on request."""

    SCHEMES = ("birads_4_vs_2", "birads_4_vs_3")
    HOW = (
        "ask its authors (Moreira et al. 2012) for INbreast and give the folder INbreast Release 1.0, which holds "
        "AllDICOMs and INbreast.csv; copies as PNG or JPEG that keep the names of the files are taken too"
    )
    SIGN = r"\d{8}_[0-9a-f]{16}_MG_[LR]_(CC|ML|FB)_ANON|(^|/)INbreast\.(csv|xlsx?)$"

    @staticmethod
    def find(
        source: Path,
        workspace: Path,
        *,
        workers: int = 0,
        track: Callable | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> list[Source]:
        """See `MammogramBuilder.find`. The patient is the hash in a file's name: table and headers tell none.

        A folder with a table of path, patient and birads instead of the published one is read as `folder` reads it.
        """
        source = opened(source, workspace, say=say)
        names = list(files_below(source))
        name, table = _table(source, names)
        if not name:
            return _own_form(source, workspace, names)
        by_number = ByImage((_number(picture), picture) for picture in pictures(source, names))
        contours = {
            Path(file).stem: source / file for file in names if re.fullmatch(r"\d{8}\.xml", Path(file).name)
        }
        found = []
        for row in table.rows:
            number = _NUMBER.fullmatch(row.values[table.column("File Name")])
            if not number:  # the spreadsheet goes on with an empty row and one of totals
                if row.values[table.column("File Name")]:
                    line, missing = f"{name}, line {row.line}", "its File Name is not the number of an image"
                    found.append(Source(line, source / line, "", Facts(), missing=missing))
                continue
            facts = Facts(birads=row.values[table.column("Bi-Rads")] or None)
            told = {field: row.values.get(table.column(field), "") for field in ("Laterality", "View")}
            files = by_number.files(number[1])
            if not files:
                missing = f"listed in {name}, but the file is absent"
                found.append(Source(number[1], source / number[1], "", facts, missing=missing))
            found += [
                _source(source, file, facts, told, contours.get(number[1]), original=files[0])
                for file in files
            ]
        return [*found, *(Source(file, source / file, "", None) for file in by_number.unlisted())]


def _number(picture: str) -> str:
    """The number of the image that a file shows, its whole stem if it has none."""
    match = re.match(r"\d{8}(?!\d)", stem(picture))
    return match[0] if match else stem(picture)


def _source(
    root: Path, file: str, facts: Facts, told: dict[str, str], contours: Path | None, *, original: str
) -> Source:
    named = _NAME.match(stem(file))
    path = root / file
    note = copy_note(path)
    lesions, fault = ((), ()) if note or contours is None else contour_circles(contours)
    return Source(
        file=file,
        path=path,
        patient=named[2].lower() if named else "",
        laterality=side_of(told["Laterality"]),
        view=told["View"].upper() if told["View"].upper() in ("CC", "MLO", "FB") else "",
        spacing=None if note else _SPACING,  # a copy may be of another size
        facts=facts,
        lesions=lesions,
        missing="" if named else "its name has no hash of the patient, as the published names have",
        left_out="" if file == original else "a copy of an image that is there in a better form",
        warnings=(*note, *fault),
    )


def _table(source: Path, names: list[str]) -> tuple[str, Table | None]:
    """(name, table) of the published labels; ("", None) where there are none that can be read as such."""
    for name in sorted(names, key=lambda name: (name.count("/"), name)):
        if name.lower().endswith(".csv"):
            try:
                table = read_table(source / name)
            except UserError:
                if Path(name).stem.lower() == "inbreast":
                    raise
                continue
            if all(table.column(column) for column in _OWN_COLUMNS):
                return name, table
    return "", None


def _own_form(source: Path, workspace: Path, names: list[str]) -> list[Source]:
    """What a folder with a table of path, patient and birads says, by the builder of such folders."""
    if not any(name.lower().endswith(".csv") and "/" not in name for name in names):
        sheets = [name for name in names if re.search(r"(^|/)INbreast\.xlsx?$", name, re.IGNORECASE)]
        remedy = (
            f"open {sheets[0]} and save its first sheet beside it as INbreast.csv" if sheets else Inbreast.HOW
        )
        raise UserError(f"{source} is not INbreast as it is published: INbreast.csv is absent; {remedy}")
    return Folder.find(source, workspace, **asdict(FolderColumns()))


def contour_circles(path: Path) -> tuple[tuple[dict, ...], tuple[str, ...]]:
    """(circles around the contours of an image, warnings). Points are "(x, y)" in pixels of the original."""
    try:
        with path.open("rb") as file:
            images = plistlib.load(file)["Images"]
        regions = [(str(region["Name"]), region["Point_px"]) for image in images for region in image["ROIs"]]
        circles = [
            _circle(kind, [_POINT.fullmatch(point.strip()) for point in points]) for kind, points in regions
        ]
    except Exception as error:  # a foreign file can make the parser raise anything
        return (), (f"its contours in AllXML cannot be read ({type(error).__name__}); lesions are not known",)
    return tuple(circle for circle in circles if circle), ()


def _circle(kind: str, points: list[re.Match]) -> dict:
    """The circle around the box of a contour, {} without points."""
    if not points:
        return {}
    columns, rows = ([float(point[axis]) for point in points] for axis in (1, 2))
    sides = max(rows) - min(rows), max(columns) - min(columns)
    return {
        "kind": kind,
        "row": (max(rows) + min(rows)) / 2,
        "column": (max(columns) + min(columns)) / 2,
        "radius": max(_LEAST_RADIUS, max(sides) / 2),
    }
