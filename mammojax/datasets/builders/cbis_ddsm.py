"""CBIS-DDSM (Lee et al. 2017): digitised film, 3,103 full mammograms of 1,566 patients, pathology of each finding."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mammojax.datasets.builder import MammogramBuilder
from mammojax.datasets.labels import Facts, facts_of, worst
from mammojax.datasets.layout import best_first, copy_note, files_below, opened, pictures, stem
from mammojax.datasets.outlines import circles
from mammojax.datasets.record import Source
from mammojax.datasets.table import read_table
from mammojax.errors import UserError
from mammojax.images.reading.peek import peek

_SERIES = re.compile(r"(Mass|Calc)-(Training|Test)_(P_\d{5})_(LEFT|RIGHT)_(CC|MLO)(?:_(\d+))?", re.IGNORECASE)
_TABLE = re.compile(r"(mass|calc)_case_description_(train|test)_set\.csv$", re.IGNORECASE)
_UID = re.compile(r"\d+(?:\.\d+){5,}")  # a series, as copies name their folders
_PARTS = {"training": "train", "test": "test"}


@dataclass(frozen=True, order=True)
class Image:
    """One view of one breast, whatever series show it."""

    patient: str
    side: str
    view: str


@dataclass(frozen=True)
class _Series:
    """What a file shows. finding: number of the finding that it is a crop or a mask of, "" for the full mammogram."""

    image: Image
    kind: str
    part: str
    finding: str


class CbisDdsm(MammogramBuilder):
    """CBIS-DDSM: digitised screen-film mammograms with proven findings; CC BY 3.0."""

    SCHEMES = (
        "malignant",
        "birads_4_vs_2",
        "birads_4_vs_3",
    )  # no normal images: `abnormal` would be everything
    SPLITS = ("train", "test", "clean_train", "clean_test")
    HOW = (
        "download the collection CBIS-DDSM and its four csv files from The Cancer Imaging Archive into one folder; "
        "copies as PNG or JPEG whose folders or files keep the names of the series are taken too"
    )
    SIGN = r"(Mass|Calc)-(Training|Test)_P_\d{5}|(mass|calc)_case_description_(train|test)_set\.csv$"

    @staticmethod
    def find(
        source: Path,
        workspace: Path,
        *,
        workers: int = 0,
        track: Callable = lambda it, **_: it,
        say: Callable[[str], None] = lambda text: None,
    ) -> list[Source]:
        """See `MammogramBuilder.find`. The patient is the P_nnnnn of the series' name: PatientID differs between views.
        The name is that of a folder or file, or, of DICOM files that lost theirs, the header's PatientID.

        An image that is stored under mass and under calc is used once, with the worst of all its findings. Crops and
        masks of findings are left out; where the mammogram and the mask are the published DICOM files, the circle around
        the mask is a lesion. Patients of a train and a test file are said, and the parts clean_train and
        clean_test have them in train alone.
        """
        source = opened(source, workspace, say=say)
        names = list(files_below(source))
        tables = [name for name in names if _TABLE.search(name)]
        if not tables:
            raise UserError(
                f"{source} is not CBIS-DDSM: no *_case_description_*.csv is there; {CbisDdsm.HOW}"
            )
        facts, listed, series_of = _labels(source, tables)
        files: dict[_Series | None, list[str]] = {}
        for picture in pictures(source, names):
            series = _series(picture, series_of) or _named(peek(source / picture).patient)
            files.setdefault(series, []).append(picture)
        whole: dict[Image, dict[_Series, list[str]]] = {}
        findings: dict[Image, dict[_Series, list[str]]] = {}
        found = []
        for series, mine in files.items():
            if series is None:
                found += [Source(name, source / name, "", None) for name in mine]
            elif series.finding:
                reason = "a crop or a mask of a finding, no whole mammogram"
                found += [Source(name, source / name, "", None, left_out=reason) for name in mine]
                findings.setdefault(series.image, {})[series] = mine
            else:
                whole.setdefault(series.image, {})[series] = mine
        both, official = _in_both_parts(listed), _official(listed)
        outlines = _outlines(source, whole, findings, workspace, workers, track)
        for image, parts in official.items():
            leaks, outlined = image.patient in both, outlines.get(image, ((), ()))
            found += _sources(source, image, whole.pop(image, {}), facts[image], parts, leaks, *outlined)
        found += [
            Source(n, source / n, "", None) for rest in whole.values() for ns in rest.values() for n in ns
        ]
        if both:
            leaked = sum({"train", "test"} <= set(parts) for parts in official.values())
            say(
                f"the official split of CBIS-DDSM is not patient-wise: {len(both)} patients ({leaked} whole images) are in a "
                "train and in a test file; the parts clean_train and clean_test have them in train alone"
            )
        return found


def _labels(source: Path, tables: Iterable[str]) -> tuple[dict[Image, Facts], dict[Image, set[tuple]], dict]:
    """(worst facts of each image, (kind, part) of the tables that list it, series by its UID in the tables)."""
    rows: dict[Image, list[Facts]] = {}
    listed: dict[Image, set[tuple]] = {}
    series_of: dict[str, _Series] = {}
    for name in tables:
        match = _TABLE.search(name)
        kind, part = match[1].lower(), match[2].lower()
        table = read_table(source / name)
        columns = ("patient_id", "left or right breast", "image view", "assessment", "pathology")
        if not all(table.column(column) for column in columns):
            raise UserError(
                f"{source / name} has the columns {', '.join(table.columns[:20])}; expected {', '.join(columns)}; "
                "download it again"
            )
        for row in table.rows:
            patient, side, view, assessment, pathology = (row.values[table.column(c)] for c in columns)
            image = Image(patient.upper(), side.upper()[:1], view.upper())
            rows.setdefault(image, []).append(facts_of(pathology, assessment))
            listed.setdefault(image, set()).add((kind, part))
            for column in ("image file path", "cropped image file path", "ROI mask file path"):
                path = row.values.get(table.column(column), "")
                if series := _named(path.partition("/")[0]):
                    for uid in _UID.findall(path):
                        series_of[uid] = series
    return {image: worst(facts) for image, facts in rows.items()}, listed, series_of


def _named(name: str) -> _Series | None:
    """The series that a folder's or file's name names."""
    match = _SERIES.match(name)
    if not match:
        return None
    kind, part, patient, side, view, finding = match.groups()
    image = Image(patient.upper(), side.upper()[0], view.upper())
    return _Series(image, kind.lower(), _PARTS[part.lower()], finding or "")


def _series(picture: str, series_of: dict[str, _Series]) -> _Series | None:
    """The series that a picture belongs to: by a folder of its path or its own name, or by a series' UID in it."""
    *folders, last = picture.split("/")
    for part in (*folders, stem(last)):
        if series := _named(part):
            return series
    for part in (*reversed(folders), stem(last)):
        if part in series_of:
            return series_of[part]
    return None


def _in_both_parts(listed: dict[Image, set[tuple]]) -> set[str]:
    """Patients that a train and a test file list."""
    parts: dict[str, set[str]] = {}
    for image, tables in listed.items():
        parts.setdefault(image.patient, set()).update(part for _, part in tables)
    return {patient for patient, both in parts.items() if len(both) > 1}


def _official(listed: dict[Image, set[tuple]]) -> dict[Image, tuple[str, ...]]:
    """The parts of each image: those of the files that list it, and its patient's part of the clean split."""
    train = {image.patient for image, tables in listed.items() if any(part == "train" for _, part in tables)}
    return {
        image: (
            *sorted({part for _, part in tables}),
            "clean_train" if image.patient in train else "clean_test",
        )
        for image, tables in listed.items()
    }


def _outlines(
    root: Path, whole: dict, findings: dict, workspace: Path, workers: int, track: Callable
) -> dict[Image, tuple[tuple[dict, ...], tuple[str, ...]]]:
    """(lesions, warnings) of each image of which findings have files. whole, findings: names of files by image and series."""
    wanted, of = [], []
    for image, series in findings.items():
        original = best_first(name for names in whole.get(image, {}).values() for name in names)[:1]
        if not original or copy_note(root / original[0]):
            continue  # a copy may be of another size
        for one in sorted(series, key=lambda one: (one.kind, int(one.finding))):
            files = tuple(root / name for name in series[one] if not copy_note(root / name))
            if files:
                wanted.append((root / original[0], files))
                of.append((image, one))
    found: dict[Image, tuple[tuple[dict, ...], tuple[str, ...]]] = {}
    told = circles(
        wanted, memory=workspace.with_name(f"{workspace.name} masks.json"), workers=workers, track=track
    )
    for (image, one), circle in zip(of, told):
        lesions, warnings = found.get(image, ((), ()))
        if isinstance(circle, str):
            warnings += (f"{one.kind} {one.finding}: {circle}; where it lies is not known",)
        else:
            lesions += ({"kind": one.kind, **circle},)
        found[image] = lesions, warnings
    return found


def _sources(
    root: Path,
    image: Image,
    series: dict,
    facts: Facts,
    parts: tuple[str, ...],
    leaks: bool,
    lesions: tuple[dict, ...],
    faults: tuple[str, ...],
) -> list[Source]:
    """The files of an image: the best one is used. series: names of files by series. lesions, faults: of that one."""
    names = best_first(name for files in series.values() for name in files)
    if not names:
        name = f"{image.patient}_{image.side}_{image.view}"
        missing = "listed in the csv files, but the full mammogram is absent"
        return [Source(name, root / name, image.patient, facts, missing=missing, parts=parts)]
    warnings = ("the patient is in a train and in a test file of the official split",) * leaks
    kinds = {s.kind for s in series}
    if len(kinds) > 1:
        warnings += ("stored under mass and under calc; findings of both count",)
        copy = "the same image as another file: it is stored under mass and under calc"
    else:
        copy = "the same image as another file"
    return [
        Source(
            file=name,
            path=root / name,
            patient=image.patient,
            laterality=image.side,
            view=image.view,
            facts=facts,
            lesions=lesions if name == names[0] else (),
            warnings=(*copy_note(root / name), *warnings, *(faults if name == names[0] else ())),
            left_out="" if name == names[0] else copy,
            parts=parts,
        )
        for name in names
    ]
