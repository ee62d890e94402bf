"""How each film was taken and stored, beside what it shows: the facts by which a network could tell the label unseen.

Measured while a file is cropped, from a reduced copy of its whole picture; kept beside the records, where training
cannot see them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from mammojax.errors import UserError
from mammojax.images.mammogram import Mammogram
from mammojax.runs import stages
from mammojax.runs.files import read_json, write_json

FILE = "acquisition.json"
BINS = 32  # of the histogram of the breast
_CLEAR = 4  # pixels of the reduced copy around the mask that count neither as breast nor as background


@dataclass(frozen=True)
class Acquisition:
    """One film.

    rows, columns: of the original. form: of the file, such as "RLE Lossless" or "PNG". inverted: whether white stood for
    zero. device: manufacturer and model, or what the data set's table says of the machine; "" if unknown. burned_in:
    whether the header declares letters in the picture. implant: whether header or table tell of one. background: median
    outside the breast. marks: share of what is outside the breast that is brighter than the breast's median. border: how
    much the outermost pixels outside the breast are brighter than the background, mean. These three are shares, in [0, 1]
    (border in [-1, 1]), NaN as None where the breast fills the frame. histogram: shares of the breast's pixels in `BINS`
    equal parts of the full scale. pixels: sixteen hex digits of the decoded pixels, the same for the same picture in
    different files.
    """

    rows: int
    columns: int
    form: str
    inverted: bool
    device: str
    burned_in: bool
    implant: bool
    background: float | None
    marks: float | None
    border: float | None
    histogram: tuple[float, ...]
    pixels: str


def acquisition(
    mammogram: Mammogram, small: np.ndarray, inside: np.ndarray, *, device: str, warnings: Sequence[str]
) -> Acquisition:
    """The facts of a decoded film.

    small: uint16[h, w], every so many-th pixel of it. inside: bool[h, w], the breast there. device: of the data set's
    table, which is believed where it says something. warnings: of the record.
    """
    top = 2**mammogram.bits - 1
    outside = ~ndimage.binary_dilation(inside, iterations=_CLEAR)
    edge = np.ones(small.shape, bool)
    edge[1:-1, 1:-1] = False
    breast = small[inside] if inside.any() else small.ravel()
    background = marks = border = None
    if outside.any():
        level = float(np.median(small[outside]))
        background = level / top
        marks = float((small[outside] > np.median(breast)).mean())
        if (edge & outside).any():
            border = (float(small[edge & outside].mean()) - level) / top
    counts = np.bincount((breast.astype(np.int64) * BINS) // (top + 1), minlength=BINS)
    return Acquisition(
        rows=mammogram.pixels.shape[0],
        columns=mammogram.pixels.shape[1],
        form=mammogram.rules[0].removeprefix("decoded ").partition(",")[0] if mammogram.rules else "",
        inverted=any("invert" in rule for rule in mammogram.rules),
        device=device or mammogram.device,
        burned_in=any("burned-in" in warning for warning in warnings),
        implant=any("implant" in warning for warning in warnings),
        background=_rounded(background),
        marks=_rounded(marks),
        border=_rounded(border),
        histogram=tuple(round(float(share), 4) for share in counts / counts.sum()),
        pixels=_digest(mammogram.pixels),
    )


def _digest(pixels: np.ndarray) -> str:
    found = hashlib.sha256(repr(pixels.shape).encode())
    found.update(np.ascontiguousarray(pixels))  # without a copy of 30 MB
    return found.hexdigest()[:16]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def write_acquisitions(folder: Path, films: Sequence[dict]) -> None:
    """Writes the facts of all records, in the order of the index, each as `asdict` gives them."""
    write_json(Path(folder) / FILE, list(films))


def read_acquisitions(folder: Path) -> list[Acquisition]:
    """The facts of the records of a prepared set, in their order.

    Raises UserError for a set that an earlier version prepared, which took none.
    """
    films = read_json(stages.verified(Path(folder), FILE)) if (Path(folder) / FILE).is_file() else [{}]
    if not all(films):
        raise UserError(
            f"{folder} was prepared by an earlier version, which kept no facts of acquisition; remove that folder, or give "
            "another as data.prepared, and start again"
        )
    return [Acquisition(**{**film, "histogram": tuple(film["histogram"])}) for film in films]
