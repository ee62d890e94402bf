"""Mean and deviation of the channels over tissue cells: the units in which a classifier sees a map."""

from collections.abc import Sequence

import numpy as np

from mammojax.representations.cache import Representations


class ChannelSums:
    """Sums over the tissue cells of every record's plain copy, taken once: any training set's statistics follow."""

    def __init__(self, representations: Representations):
        n, c = len(representations), representations.channels
        self._count, self._total, self._square = np.zeros(n), np.zeros((n, c)), np.zeros((n, c))
        for i in range(n):
            cells = representations.read(i)[representations.tissue(i)].astype(np.float64)
            self._count[i], self._total[i], self._square[i] = len(cells), cells.sum(0), (cells**2).sum(0)

    def of(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """(mean, deviation), float32[c] each, over the tissue cells of these records; a channel that never changes has
        the deviation 1."""
        chosen = np.asarray(indices, int)
        count = self._count[chosen].sum()
        mean = self._total[chosen].sum(0) / count
        variance = np.maximum(self._square[chosen].sum(0) / count - mean**2, 0)
        deviation = np.sqrt(variance)
        return mean.astype(np.float32), np.where(deviation > 0, deviation, 1).astype(np.float32)

    def of_sets(
        self, indices: Sequence[int], sets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """(mean, deviation, sets) as `Bags` takes them: those of each set by itself, float32[s, c], where there are several, else
        float32[c] and None. sets: int[n], the set of every record."""
        chosen = np.asarray(indices, int)
        found = [self.of(chosen[sets[chosen] == k]) for k in np.unique(sets)]
        if len(found) == 1:
            return *found[0], None
        return *map(np.stack, zip(*found)), sets
