"""Which cells of a map are breast: cells of which the mask covers at least half."""

import numpy as np

BLOCK = 8  # pixels a side of the blocks in which a record keeps its mask
LEAST = 0.5


def overlaps(begin: np.ndarray, end: np.ndarray, blocks: int) -> np.ndarray:
    """float64[n, blocks]: how much of [begin, end) lies in each block of `BLOCK` pixels along an axis."""
    edges = np.arange(blocks) * BLOCK
    return np.clip(np.minimum(end[:, None], edges + BLOCK) - np.maximum(begin[:, None], edges), 0, None)


def covered(tissue: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """float64[r, c]: share of each cell that is breast.

    tissue: uint8[ceil(h/8), ceil(w/8)], share of the mask in blocks of 8 x 8 pixels times 255. rows, columns: float[r, 2]
    and float[c, 2], where cells begin and end along each axis, pixels of the crop; what lies outside is no breast.
    """
    high = overlaps(rows[:, 0], rows[:, 1], tissue.shape[0])
    wide = overlaps(columns[:, 0], columns[:, 1], tissue.shape[1])
    area = np.maximum(rows[:, 1] - rows[:, 0], 1e-9)[:, None] * np.maximum(
        columns[:, 1] - columns[:, 0], 1e-9
    )
    return high @ (tissue / 255.0) @ wide.T / area


def tissue_cells(tissue: np.ndarray, plan) -> np.ndarray:
    """bool[rows, columns]: the tissue cells of a map read by `plan`.

    Where no cell is covered by half, those that hold any breast; where none does, all: an image without a mask is read
    whole.
    """
    rows, columns = cell_edges(plan)
    share = covered(tissue, rows, columns)
    for chosen in (share >= LEAST, share > 0):
        if chosen.any():
            return chosen
    return np.ones(share.shape, bool)


def cell_edges(plan) -> tuple[np.ndarray, np.ndarray]:
    """(float64[r, 2], float64[c, 2]): where the cells of a map begin and end, pixels of the crop.

    Cells of a dense map tile the crop around their centres; those of a grid are their windows, cut to the crop.
    """
    if hasattr(plan, "cell_centres"):
        centres = plan.cell_centres()
        return _tiles(centres[:, 0, 0], plan.crop_shape[0]), _tiles(centres[0, :, 1], plan.crop_shape[1])
    windows = plan.cell_windows()
    return windows[:, 0, [0, 2]], windows[0, :, [1, 3]].T


def _tiles(centres: np.ndarray, side: int) -> np.ndarray:
    """float64[n, 2]: equal intervals around the centres of n cells (pixel i covers [i, i + 1)); all of the side for one."""
    if len(centres) == 1:
        return np.asarray([[0.0, side]])
    half = (centres[1] - centres[0]) / 2
    return np.stack([centres + 0.5 - half, centres + 0.5 + half], 1)
