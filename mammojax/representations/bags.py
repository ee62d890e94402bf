"""What a classifier is given of a sample: one map, or the tissue cells of all its images as a bag; of one size for all."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mammojax.representations.cache import Representations
from mammojax.representations.contrast import difference


class Stacked(NamedTuple):
    """values: float32[n * copies, r, c, ch], the copies of a sample one after the other. tissue: bool[n * copies, r, c]."""

    values: np.ndarray
    tissue: np.ndarray


class Bags:
    """Read access to the samples of a data set as a classifier takes them.

    representations: of the records. members: the record numbers of each sample. spatial: a sample is one record and keeps
    the places of its cells, [rows, columns]; otherwise its tissue cells stand in a line, [1, cells], those of all its
    records, and are filled up to the largest sample. mean, deviation: float32[c], of the training set; float32[s, c] of each
    of several sets, `sets` says which a record is of, int[n of records]: its channels then come in units of its own set.
    partner: int[n of
    records], the record of the other breast, -1 for none; with it the smoothed difference is appended as channels.
    shape: (rows, columns, channels) of every sample. copies: of every sample.
    """

    def __init__(
        self,
        representations: Representations,
        members: Sequence[Sequence[int]],
        *,
        spatial: bool,
        mean: np.ndarray,
        deviation: np.ndarray,
        partner: np.ndarray | None = None,
        sets: np.ndarray | None = None,
    ):
        self._maps, self._members, self._spatial = representations, members, spatial
        self._mean, self._deviation, self._partner, self._sets = mean, deviation, partner, sets
        self.copies = representations.copies
        channels = representations.channels * (1 if partner is None else 2)
        if spatial:
            sides = np.asarray([representations.shapes[i] for chosen in members for i in chosen])
            self.shape = (*map(int, sides.max(0)), channels)
        else:
            cells = [
                sum(int(representations.tissue(i, copy).sum()) for i in chosen)
                for chosen in members
                for copy in range(self.copies)
            ]
            self.shape = (1, max(cells), channels)

    def __len__(self) -> int:
        return len(self._members)

    @property
    def bytes(self) -> int:
        """Of all samples stacked, as float32."""
        return 4 * len(self) * self.copies * int(np.prod(self.shape))

    @property
    def normalisation(self) -> tuple[np.ndarray, np.ndarray]:
        """(mean, deviation), float32[channels]; differences, and channels of several sets, are in their units already."""
        mean, deviation = self._mean, self._deviation
        if self._sets is not None:
            mean, deviation = np.zeros_like(mean[0]), np.ones_like(deviation[0])
        if self._partner is None:
            return mean, deviation
        return np.r_[mean, 0 * mean], np.r_[deviation, 1 + 0 * deviation]

    def read(self, k: int, copy: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(float32[rows, columns, channels], bool[rows, columns]) of sample k."""
        values = np.zeros(self.shape, np.float32)
        tissue = np.zeros(self.shape[:2], bool)
        begin = 0
        for i in self._members[k]:
            own, cells = self._channels(i, copy), self._maps.tissue(i, copy)
            if self._spatial:
                rows, columns = cells.shape
                values[:rows, :columns], tissue[:rows, :columns] = own, cells
            else:
                end = begin + int(cells.sum())
                values[0, begin:end], tissue[0, begin:end] = own[cells], True
                begin = end
        return values, tissue

    def _channels(self, i: int, copy: int) -> np.ndarray:
        own, mean, deviation = self._maps.read(i, copy), self._mean, self._deviation
        if self._sets is not None:
            mean, deviation = mean[self._sets[i]], deviation[self._sets[i]]
        parts = [own if self._sets is None else (own - mean) / deviation]
        if self._partner is not None:
            other = int(self._partner[i])
            theirs = self._maps.read(other) if other >= 0 else None
            parts.append(difference(own, theirs, mean, deviation))
        return np.concatenate(parts, -1) if len(parts) > 1 else parts[0]

    def stacked(self) -> Stacked:
        """All samples in memory."""
        rows = len(self) * self.copies
        values = np.empty((rows, *self.shape), np.float32)
        tissue = np.empty((rows, *self.shape[:2]), bool)
        for k in range(len(self)):
            for copy in range(self.copies):
                values[k * self.copies + copy], tissue[k * self.copies + copy] = self.read(k, copy)
        return Stacked(values, tissue)
