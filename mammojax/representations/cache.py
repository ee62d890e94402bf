"""The representation cache: read access to what a scan has left, and the types that values are kept in.

A record's map has rows x columns x c values and a mask of its tissue cells. Maps of all sizes lie one after the other, in
shards that are memory maps; a shard of bfloat16, which .npy files do not know, holds its bits as uint16. What rounding to
the kept type costs is measured on all that is stored, against each channel's deviation, which is the unit that the
classifier sees them in.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np

from mammojax.errors import UserError
from mammojax.runs import stages
from mammojax.runs.files import read_json

MANIFEST = "manifest.json"
CACHES = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
}


def rounded(values: np.ndarray, cache: str) -> np.ndarray:
    """values in the type `cache` (a name of `CACHES`); UserError if one is not finite or beyond the type's range."""
    if not np.isfinite(values).all():
        raise UserError("the scanning network gave values that are not finite; check the weights file")
    with np.errstate(over="ignore"):  # said below
        kept = values.astype(CACHES[cache])
    if not np.isfinite(kept).all():
        raise UserError(
            f"representations reach {np.abs(values).max():.3g}, beyond {cache}; "
            f"set config.scan.cache=bfloat16 or choose another tap"
        )
    return kept


class Rounding(NamedTuple):
    """What storing took from the values: differences as shares of their channel's standard deviation.

    worst: the largest difference. root_mean_square: over all values.
    """

    worst: float
    root_mean_square: float


def moments(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """float64[5, c] of values float32[m, c]: count, sum, sum of squares, sum of squared and largest rounding error."""
    values = values.astype(np.float64)
    errors = np.abs(kept.astype(np.float64) - values)
    count = np.full(values.shape[-1], len(values))
    return np.stack([count, values.sum(0), (values**2).sum(0), (errors**2).sum(0), errors.max(0)])


def rounding(parts: Sequence[np.ndarray]) -> Rounding:
    """Of the `moments` of all shards; channels that never change have no deviation and are left out."""
    count, total, square, error, _ = np.sum(parts, 0)
    largest = np.max(parts, 0)[4]
    variance = square / count - (total / count) ** 2
    varies = variance > 1e-12 * square / count  # the rest is rounding of the sums
    if not varies.any():
        return Rounding(0.0, 0.0)
    return Rounding(
        worst=float((largest[varies] / np.sqrt(variance[varies])).max()),
        root_mean_square=float(np.sqrt((error[varies] / count[varies] / variance[varies]).mean())),
    )


def shard_name(k: int) -> str:
    """The file of the values [m, c] of shard k; copies of a record follow each other."""
    return f"shard_{k:05d}.npy"


def tissue_name(k: int) -> str:
    """The file of the masks bool[m] of shard k."""
    return f"tissue_{k:05d}.npy"


class Representations:
    """Read access to a finished cache, by record number and copy (copy 0 is the crop as it is).

    shapes: (rows, columns) of each record's map. channels: c. copies: of each record, at least 1. cache: the type of what
    is stored. rounding: how far it is from what the network gave. key: of the stage.
    Raises Damaged where a file is not what the scan left.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        facts = read_json(stages.verified(self.folder, MANIFEST))
        self.key = self.folder.name
        self.copies: int = facts["copies"]
        self.channels: int = facts["channels"]
        self.cache: str = facts["cache"]
        self.plans: list[str] = facts["plans"]
        self.rounding = Rounding(**facts["rounding"])
        self.shapes: list[tuple[int, int]] = [(0, 0)] * sum(map(len, facts["shards"]))
        self._place: dict[int, tuple[int, int]] = {}
        for k, shard in enumerate(facts["shards"]):
            begin = 0
            for i, rows, columns in shard:
                self._place[i] = (k, begin)
                self.shapes[i] = (rows, columns)
                begin += self.copies * rows * columns
        self._open = functools.lru_cache(maxsize=256)(self._open_shard)  # a memory map costs a file handle

    def __len__(self) -> int:
        return len(self.shapes)

    def _open_shard(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        values = np.load(stages.verified(self.folder, shard_name(k)), mmap_mode="r").view(CACHES[self.cache])
        return values, np.load(stages.verified(self.folder, tissue_name(k)), mmap_mode="r")

    def _rows(self, i: int, copy: int) -> tuple[int, slice]:
        k, begin = self._place[i]
        cells = self.shapes[i][0] * self.shapes[i][1]
        return k, slice(begin + copy * cells, begin + (copy + 1) * cells)

    def read(self, i: int, copy: int = 0) -> np.ndarray:
        """float32[rows, columns, c]: the map of record i."""
        k, rows = self._rows(i, copy)
        return self._open(k)[0][rows].astype(np.float32).reshape(*self.shapes[i], self.channels)

    def tissue(self, i: int, copy: int = 0) -> np.ndarray:
        """bool[rows, columns]: which cells of record i are breast."""
        k, rows = self._rows(i, copy)
        return np.asarray(self._open(k)[1][rows]).reshape(self.shapes[i])
