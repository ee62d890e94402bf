"""The breast box beside three published recipes, on films whose breast is known and on films with annotated lesions."""

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from mammojax.datasets.builders.mias import read_info
from mammojax.errors import UserError
from mammojax.images.breast import breast_box, breast_mask
from mammojax.images.mammogram import Rejected
from mammojax.images.reading.any_file import read_mammogram
from mammojax.phantom.screening_set import phantom_patient

_OPENING = np.ones((15, 15), bool)


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of bool[h, w], nothing if there is none."""
    parts, count = ndimage.label(mask)
    return parts == 1 + np.bincount(parts.ravel())[1:].argmax() if count else mask


def above_zero(pixels: np.ndarray, bits: int) -> np.ndarray:
    """The largest component of `img > 0`, as much published code has it."""
    return _largest(pixels > 0)


def otsu(pixels: np.ndarray, bits: int) -> np.ndarray:
    """The largest component above Otsu's threshold of the whole picture (Otsu 1979)."""
    counts = np.bincount((pixels.astype(np.int64) * 256 >> bits).ravel(), minlength=256)
    below, moment = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    between = (moment[-1] * below / below[-1] - moment) ** 2 / np.maximum(below * (below[-1] - below), 1)
    return _largest((pixels.astype(np.int64) * 256 >> bits) > np.argmax(between))


def twentieth(pixels: np.ndarray, bits: int) -> np.ndarray:
    """The largest component above 5% of the largest value, opened with 15 x 15 pixels."""
    return _largest(ndimage.binary_opening(pixels > 0.05 * pixels.max(), _OPENING))


RECIPES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "mammojax": lambda pixels, bits: breast_mask(pixels),
    "largest component of img > 0": above_zero,
    "Otsu, largest component": otsu,
    "5% of maximum, opened 15 x 15": twentieth,
}


@dataclass(frozen=True)
class Film:
    """pixels: uint16[h, w] in [0, 2**bits - 1], larger is denser. truth: bool[h, w], the breast, or None. circles: (row,
    column, radius) each, of lesions."""

    pixels: np.ndarray
    bits: int
    truth: np.ndarray | None
    circles: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Measured:
    """Of one recipe. films; overlap: mean and least IoU of its box with the true one, NaN without truth. lesions, outside:
    annotated circles, and those whose centre lies outside the box. cut: circles that the box cuts. kept: mean share of the
    frame that the box keeps."""

    films: int
    overlap: float
    least: float
    lesions: int
    outside: int
    cut: int
    kept: float


def phantoms(patients: int, *, seed: int, height: int) -> Iterator[Film]:
    """The films of so many synthetic patients, with every nuisance of the built-in set."""
    for patient in range(patients):
        for view in phantom_patient(seed, patient, malignant=True, height=height, width=height * 3 // 4):
            pixels = view.pixels
            if view.photometric == "MONOCHROME1":
                pixels = (2**view.bits - 1 - pixels.astype(np.int32)).astype(np.uint16)
            circles = tuple((lesion.row, lesion.column, lesion.radius) for lesion in view.lesions)
            yield Film(pixels, view.bits, view.breast_mask, circles)


def mias(archive: Path) -> Iterator[Film]:
    """The films of mini-MIAS with their annotated circles."""
    try:
        with tarfile.open(archive) as tar:
            files = {Path(member.name).name: member for member in tar if member.isfile()}
            places = read_info(tar.extractfile(files["Info.txt"]).read().decode("latin-1"))
            for name, findings in sorted(places.items()):
                if f"{name}.pgm" not in files:
                    continue
                film = read_mammogram(tar.extractfile(files[f"{name}.pgm"]).read(), name)
                circles = tuple((f["row"], f["column"], f["radius"]) for f in findings if "row" in f)
                yield Film(film.pixels, film.bits, None, circles)
    except (OSError, tarfile.TarError, KeyError, Rejected) as error:
        raise UserError(f"{archive} cannot be read ({error}); give all-mias.tar.gz") from None


def compare(films: Iterator[Film], *, margin: float) -> dict[str, Measured]:
    """What every recipe does on these films. margin: that all boxes are grown by, as in preparation."""
    rows: dict[str, list[tuple]] = {name: [] for name in RECIPES}
    for film in films:
        for name, recipe in RECIPES.items():
            rows[name].append(_on(film, recipe, margin))
    return {name: _summed(np.asarray(found, float)) for name, found in rows.items()}


def _on(film: Film, recipe: Callable, margin: float) -> tuple[float, float, float, float, float]:
    """(IoU with the true box, circles, those outside, those cut, share kept)."""
    mask = recipe(film.pixels, film.bits)
    height, width = film.pixels.shape
    top, left, bottom, right = _corners(mask, margin) if mask.any() else (0, 0, height, width)
    overlap = np.nan
    if film.truth is not None:
        other = _corners(film.truth, margin)
        shared = max(0, min(bottom, other[2]) - max(top, other[0])) * max(
            0, min(right, other[3]) - max(left, other[1])
        )
        areas = (bottom - top) * (right - left) + (other[2] - other[0]) * (other[3] - other[1])
        overlap = shared / (areas - shared)
    outside = sum(not (top <= r < bottom and left <= c < right) for r, c, _ in film.circles)
    # a circle that reaches over the frame's edge is cut by the frame
    cut = sum(
        max(0, r - size) < top or min(height, r + size) > bottom or max(0, c - size) < left or min(width, c + size) > right
        for r, c, size in film.circles
    )  # fmt: skip
    return overlap, len(film.circles), outside, cut, (bottom - top) * (right - left) / (height * width)


def _corners(mask: np.ndarray, margin: float) -> tuple[int, int, int, int]:
    box = breast_box(mask, margin=margin)
    return box.top, box.left, box.top + box.height, box.left + box.width


def _summed(rows: np.ndarray) -> Measured:
    overlap = rows[:, 0]
    known = not np.isnan(overlap).all()
    return Measured(
        films=len(rows),
        overlap=float(np.nanmean(overlap)) if known else float("nan"),
        least=float(np.nanmin(overlap)) if known else float("nan"),
        lesions=int(rows[:, 1].sum()),
        outside=int(rows[:, 2].sum()),
        cut=int(rows[:, 3].sum()),
        kept=float(rows[:, 4].mean()),
    )
