"""The other breast as channels: a map minus the map of the same view of the other side, both smoothed.

Crops are turned to the same side already, so the other breast's map is laid over this one box to box. What both breasts
share (density, exposure, age) goes; what one alone has stays. Everything is linear along an axis: resampling and
smoothing are one matrix a pair of lengths.
"""

import functools

import numpy as np
from scipy import ndimage

SIGMA = 2.0  # cells
LIMIT = 6.0  # deviations at which standardised channels are cut


@functools.lru_cache(maxsize=4096)
def _smoothing(cells: int) -> np.ndarray:
    """float32[cells, cells]: a Gaussian of `SIGMA` cells along an axis, mirrored at its ends."""
    return ndimage.gaussian_filter1d(np.eye(cells, dtype=np.float32), SIGMA, axis=0)


@functools.lru_cache(maxsize=4096)
def _resampling(cells: int, other: int) -> np.ndarray:
    """float32[cells, other]: linear interpolation of `other` cells to `cells` over the same length."""
    places = (np.arange(cells) + 0.5) * other / cells - 0.5
    low = np.clip(np.floor(places).astype(int), 0, other - 1)
    high = np.minimum(low + 1, other - 1)
    share = np.clip(places - low, 0, 1).astype(np.float32)
    matrix = np.zeros((cells, other), np.float32)
    rows = np.arange(cells)
    np.add.at(matrix, (rows, low), 1 - share)
    np.add.at(matrix, (rows, high), share)
    return matrix


def _along_both(rows: np.ndarray, values: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.einsum("ri,ijc,sj->rsc", rows, values, columns, optimize=True)


def standardised(values: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """float32[r, c, ch]: channels in units of their deviation, cut at `LIMIT` of them."""
    return np.clip((values - mean) / deviation, -LIMIT, LIMIT)


def difference(
    own: np.ndarray, other: np.ndarray | None, mean: np.ndarray, deviation: np.ndarray
) -> np.ndarray:
    """float32[r, c, ch]: the smoothed standardised map minus that of the other breast; 0 where there is none.

    own: float32[r, c, ch]. other: float32[r', c', ch] of any size. mean, deviation: float32[ch], of the training set.
    """
    if other is None:
        return np.zeros_like(own)
    rows, columns = _smoothing(own.shape[0]), _smoothing(own.shape[1])
    mine = _along_both(rows, standardised(own, mean, deviation), columns)
    theirs = _along_both(
        rows @ _resampling(own.shape[0], other.shape[0]),
        standardised(other, mean, deviation),
        columns @ _resampling(own.shape[1], other.shape[1]),
    )
    return (mine - theirs).astype(np.float32)
