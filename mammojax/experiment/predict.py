"""Scores of new files by a trained arm: read, kept by content, and scored exam by exam.

What a file gives is kept under the sha256 of its bytes (and of what its name tells) and the key of the model: a killed run
goes on where it was, and never takes one file for another.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from scipy.special import expit

from mammojax.datasets.layout import files_below
from mammojax.datasets.patients import identity, is_placeholder
from mammojax.datasets.samples import Samples
from mammojax.datasets.samples import other_view as other_views
from mammojax.datasets.samples import partner as partners
from mammojax.datasets.schema import tissue_share
from mammojax.errors import UserError
from mammojax.experiment.inputs import neighbours
from mammojax.experiment.model import Evidence, Model
from mammojax.images.geometry import Geometry
from mammojax.images.reading.any_file import IMAGE_SUFFIXES, is_image_file
from mammojax.images.reading.crops import read_crops
from mammojax.images.views import from_file_name
from mammojax.runs.files import read_json, writing

SCALE = (
    1.5  # times the training set's smallest and largest crop before a film is taken for one of another scale
)
COLUMNS = (
    "file", "score", "probability", "box_top", "box_left", "box_height", "box_width", "laterality", "view", "read_with",
    "geometry", "warnings", "reason",
)  # fmt: skip
PICTURE = 1024  # pixels: the longer side of what is kept of a crop to be drawn


@dataclass(frozen=True, eq=False)
class File:
    """A file to score: name, as it is printed; path."""

    name: str
    path: Path


def files_of(arguments: Iterable[str]) -> list[File]:
    """All files named, and all pictures in the folders named, in a stable order, each once.

    Where names inside two folders are equal, the folders are printed too. Raises UserError where nothing is named.
    """
    found: dict[Path, tuple[str, str]] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            inside = sorted(filter(_is_to_score, (path / name for name in files_below(path))))
            if not inside:
                raise UserError(
                    f"{path} holds no DICOM, PNG, TIFF, PGM or JPEG files; name files or another folder"
                )
            for p in inside:
                found.setdefault(p.resolve(), (p.relative_to(path).as_posix(), p.as_posix()))
        else:
            found.setdefault(path.resolve(), (path.as_posix(), path.as_posix()))
    if not found:
        raise UserError(
            "no files to score; name DICOM, PNG, TIFF, PGM or JPEG files, or folders that hold them"
        )
    times = Counter(name for name, _ in found.values())
    names = [name if times[name] == 1 else long for name, long in found.values()]
    return [File(_printable(name), path) for name, path in zip(names, found)]


def _is_to_score(path: Path) -> bool:
    """Whether a file of a folder is to have a row: pictures, and links that say they are one but lead nowhere."""
    return is_image_file(path) or (path.suffix.lower() in IMAGE_SUFFIXES and not path.exists())


def _printable(name: str) -> str:
    """A name on one line, whatever bytes it has on disk."""
    return (
        name.encode("utf-8", "backslashreplace")
        .decode("utf-8")
        .translate({c: f"\\x{c:02x}" for c in range(32)})
    )


def predict(
    model: Model,
    files: Sequence[File],
    work: Path,
    *,
    say: Callable[[str], None] = lambda text: None,
    track: Callable = lambda it, **_: it,
) -> Iterator[dict]:
    """A row (a dict with the keys of `COLUMNS`) for every file, in order; one that cannot be scored has its reason.

    work: a folder for what files give; it can be removed when all rows are there.
    """
    digests = [_digest(file.path) for file in files]
    known = [d is not None and (work / f"{d}.json").is_file() for d in digests]
    if any(known):
        say(f"{sum(known)} of {len(files)} files were read before; going on")
    todo = [file for file, done, digest in zip(files, known, digests) if not done and digest is not None]
    marks = [digest for done, digest in zip(known, digests) if not done and digest is not None]
    options = {name: model.facts[name] for name in ("margin", "for_processing", "depth")}
    read = read_crops([file.path for file in todo], **options)
    for digest, found in zip(marks, track(read, total=len(todo), description="reading")):
        _keep(work, digest, model, found)
    held = [_held(work, digest) for digest in digests]
    usable = [i for i, (facts, _) in enumerate(held) if not facts["reason"]]
    facts = [held[i][0] for i in usable]
    evidence = [held[i][1] for i in usable]
    partner, other_view, samples = _exams(facts, model.facts["sample"])
    scores: dict[int, tuple[float, str]] = {}
    if usable:
        near = neighbours(_grouped(samples), partner, other_view)
        odds = model.log_odds(evidence, samples, partner, (near.partner, near.other_view))
        for k, (members, value) in enumerate(zip(samples, odds)):
            read = _read_for(model, k, samples, partner, (near.partner, near.other_view))
            for i in members:
                with_ = "; ".join(files[usable[j]].name for j in sorted(read - {i}))
                scores[usable[i]] = (float(value), with_)
    for i, (file, (facts_of, _)) in enumerate(zip(files, held)):
        row = (
            dict.fromkeys(COLUMNS, "")
            | {"file": file.name}
            | facts_of["row"]
            | {"reason": facts_of["reason"]}
        )
        if i in scores:
            odds, with_ = scores[i]
            row |= {"score": repr(odds), "probability": repr(float(expit(odds))), "read_with": with_}
        yield row


def _read_for(
    model: Model, k: int, samples: Sequence[Sequence[int]], partner: np.ndarray, near: tuple
) -> set[int]:
    """The crops that the score of sample k depends on; arguments as of `Model.log_odds`."""
    read = {i for readout in model.readouts for j in readout.entering(k, *near) for i in samples[j]}
    return read | ({int(partner[i]) for i in read} - {-1} if model.takes_differences else set())


@dataclass(frozen=True, eq=False)
class FileMap:
    """The map of one scored file. number: of the file, from 0. scores: float64[rows, columns], see `Model.of_cells`, NaN off
    the breast. centres: float64[rows, columns, 2], of the cells in pixels of the crop. geometry: from the crop to the file.
    picture: uint8[h, w], the crop.
    """

    number: int
    scores: np.ndarray
    centres: np.ndarray
    geometry: Geometry
    picture: np.ndarray


def cell_maps(model: Model, files: Sequence[File], work: Path) -> Iterator[FileMap]:
    """The map of every file that `predict` has scored. UserError for a classifier that scores no cells."""
    model.check_cell_scores()
    digests = [_digest(file.path) for file in files]
    held = [_held(work, digest) for digest in digests]
    usable = [i for i, (facts, _) in enumerate(held) if not facts["reason"]]
    partner, _, _ = _exams([held[i][0] for i in usable], "image")
    evidence = [held[i][1] for i in usable]
    for k, i in enumerate(usable):
        facts = held[i][0]
        shape = tuple(facts["shape"])
        yield FileMap(
            i,
            model.cell_scores(evidence, k, partner),
            model.cell_centres(shape),
            Geometry.from_json(facts["row"]["geometry"]),
            _picture(work / f"{digests[i]}.npz", shape),
        )


def _reduced(image: np.ndarray) -> tuple[np.ndarray, int]:
    """(uint8, step): the mean of blocks of step x step pixels, from the darkest to the brightest of them."""
    step = -(-max(image.shape) // PICTURE)
    high, wide = (max(1, side // step) for side in image.shape)
    small = image[: high * step, : wide * step].reshape(high, step, wide, step).mean((1, 3))
    return np.rint(255 * (small - small.min()) / max(np.ptp(small), 1)).astype(np.uint8), step


def _picture(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """uint8[h, w] from what was kept of a crop."""
    with np.load(path, allow_pickle=False) as held:
        small, step = held["picture"], int(held["step"])
    whole = small.repeat(step, 0).repeat(step, 1)
    return np.pad(whole, [(0, side - now) for side, now in zip(shape, whole.shape)], mode="edge")


def _digest(path: Path) -> str | None:
    """What a file's reading is kept under, None if it cannot be read: its bytes, and the side and view that its name tells."""
    try:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256")
    except OSError:
        return None
    if any(told := from_file_name(path.name)):
        content.update("\0".join(("", *told)).encode())
    return content.hexdigest()


def _keep(work: Path, digest: str, model: Model, found) -> None:
    """What a file gives, on disk: its facts last, they say that it is whole."""
    if isinstance(found, str):
        facts = {"reason": found, "row": {}}
    else:
        mammogram, crop = found
        evidence = model.evidence(crop.image, crop.bits, tissue_share(crop.mask))
        with writing(work / f"{digest}.npz") as file:
            picture, step = _reduced(crop.image)
            np.savez(file, values=evidence.values, tissue=evidence.tissue, picture=picture, step=step)
        row = {f"box_{side}": getattr(crop.box, side) for side in ("top", "left", "height", "width")}
        row |= {
            "laterality": mammogram.laterality,
            "view": mammogram.view,
            "geometry": crop.geometry.to_json(),
            "warnings": "; ".join((*mammogram.warnings, *crop.warnings, *_scale(model, crop.image.shape[0]))),
        }
        facts = {
            "reason": "",
            "row": row,
            "patient": exam_of(mammogram.patient),
            "shape": list(crop.image.shape),
        }
    with writing(work / f"{digest}.json", "w") as file:
        json.dump(facts, file)


def exam_of(patient: str) -> str:
    """What joins the films of one exam, and is not written to the table: 16 hex digits of a patient's identifier, "" for
    words that stand for nobody, as in preparation: they must not join different women."""
    return (
        ""
        if is_placeholder(patient)
        else hashlib.sha256(identity(patient).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    )


def _scale(model: Model, rows: int) -> list[str]:
    """What to say of a crop whose size tells that it is read at another scale than the network was trained on."""
    low, middle, high = model.facts["crop_rows"]
    if low / SCALE <= rows <= high * SCALE:
        return []
    return [
        f"the crop has {rows} rows, those of the training set {low} to {high} (median {middle}): read at another scale, "
        f"the score may mean little"
    ]


def _held(work: Path, digest: str | None) -> tuple[dict, Evidence | None]:
    if digest is None:
        return {"reason": "the file is absent or cannot be read", "row": {}}, None
    facts = read_json(work / f"{digest}.json")
    if facts["reason"]:
        return facts, None
    with np.load(work / f"{digest}.npz", allow_pickle=False) as held:
        return facts, Evidence(held["values"], held["tissue"])


def _exams(facts: Sequence[dict], level: str) -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
    """(partner, other view, samples) of readable files, by the patient, side and view that they say."""
    films = [(f["patient"], f["row"]["laterality"], f["row"]["view"]) for f in facts]
    exams = _Films(films)
    partner, other_view = partners(exams), other_views(exams)
    groups: dict = {}
    for i, (patient, side, _) in enumerate(films):
        key = (patient, side) if level == "breast" else patient
        alone = level == "image" or not patient or (level == "breast" and not side)
        groups.setdefault(("alone", i) if alone else key, []).append(i)
    return partner, other_view, list(groups.values())


class _Films:
    """New files as the rules for partners see records; a file without a patient has no exam."""

    def __init__(self, films: Sequence[tuple[str, str, str]]):
        names = {name: k for k, name in enumerate(dict.fromkeys(patient for patient, _, _ in films))}
        alone = len(names)
        self.patients = np.asarray(
            [names[p] if p else alone + i for i, (p, _, _) in enumerate(films)], np.int64
        )
        self.records = [
            SimpleNamespace(laterality=side, breast=side, breast_stated=bool(side), view=view)
            for _, side, view in films
        ]

    def __len__(self) -> int:
        return len(self.records)


def _grouped(members: Sequence[Sequence[int]]) -> Samples:
    """Crops that share a score, as the rules for exams see samples; labels and patients are of no account."""
    nothing = np.zeros(len(members), np.int64)
    names = tuple(str(chosen[0]) for chosen in members)
    return Samples(names, tuple(np.asarray(chosen, np.int64) for chosen in members), nothing, nothing)
