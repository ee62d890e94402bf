"""Where the breast is: mask, box and the crop in canonical orientation.

All levels are taken from the picture itself, so that neither an offset of the background nor the scale of the values
matters. The work is done on a copy reduced to some 512 rows.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mammojax.errors import UserError
from mammojax.images.geometry import Box, Geometry
from mammojax.images.mammogram import Mammogram, Rejected

_ROWS = 512  # of the reduced copy, about
_LEAST = 0.04  # share of the picture below which a mask is not believed


@dataclass(frozen=True, eq=False)
class Crop:
    """The breast of one mammogram, chest wall at the left.

    image: uint16[h, w], values in [0, 2**bits - 1]. box: in the original. geometry: maps the crop to the original.
    flipped: whether columns were reversed. side: "left" or "right", where the chest wall lies in the original.
    mask_fraction: share of the original's pixels that the breast mask covers. warnings: what a reader should know.
    """

    image: np.ndarray
    bits: int
    box: Box
    geometry: Geometry
    flipped: bool
    side: str
    mask_fraction: float
    warnings: tuple[str, ...] = ()


def crop_breast(mammogram: Mammogram, *, margin: float = 0.02) -> Crop:
    """The breast's box cut out and flipped so that the chest wall is at the left.

    margin: what the box is grown by, as a share of its longer side. If no plausible mask is found the whole frame is
    kept, and a warning says so. Raises Rejected for a picture without content.
    """
    pixels = mammogram.pixels
    if pixels.size == 0 or pixels.min() == pixels.max():
        raise Rejected("empty picture: no breast can be found")
    mask = breast_mask(pixels, mammogram.bits)
    fraction = float(mask.mean())
    warnings = []
    if fraction < _LEAST:
        warnings.append(f"the breast mask covers {fraction:.1%} of the picture and was not believed; the whole frame is kept")
        mask = np.ones(pixels.shape, bool) if not mask.any() else mask
        box = Box(0, 0, *pixels.shape)
    else:
        box = breast_box(mask, margin=margin)
    side = chest_wall_side(mask)
    usual = {"L": "left", "R": "right"}.get(mammogram.laterality)
    if usual and usual != side:
        warnings.append(f"laterality: the file says {mammogram.laterality}, whose chest wall is usually at the {usual}; "
                        f"the mask says {side}, which is believed for the orientation")  # fmt: skip
    image, geometry, flipped = pixels[box.slices], Geometry().cropped(box), side == "right"
    if flipped:
        image, geometry = image[:, ::-1], geometry.flipped(box.width)
    return Crop(np.ascontiguousarray(image), mammogram.bits, box, geometry, flipped, side, fraction, tuple(warnings))


def breast_box(mask: np.ndarray, *, margin: float = 0.02) -> Box:
    """The smallest box around the breast, grown by `margin` of its longer side and cut at the frame.

    mask: bool[h, w], True on the breast. Raises UserError if the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise UserError("the breast mask is empty; there is no box around it")
    grow = round(margin * max(rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1))
    top, left = max(0, rows[0] - grow), max(0, columns[0] - grow)
    bottom, right = min(mask.shape[0], rows[-1] + 1 + grow), min(mask.shape[1], columns[-1] + 1 + grow)
    return Box(int(top), int(left), int(bottom - top), int(right - left))


def chest_wall_side(mask: np.ndarray) -> str:
    """"left" or "right": where the chest wall lies, the side on which the breast is taller.

    mask: bool[h, w], True on the breast. An empty or symmetric mask gives "left".
    """
    columns = np.flatnonzero(mask.any(axis=0))
    if not columns.size:
        return "left"
    heights = mask[:, columns[0] : columns[-1] + 1].sum(axis=0)
    n = len(heights)
    offset = np.arange(n) - (n - 1) / 2
    return "right" if float((heights * offset).sum()) > 0 else "left"


def breast_mask(pixels: np.ndarray, bits: int) -> np.ndarray:
    """bool[h, w]: True on the breast, False on background, film base, labels, lettering and scanner bars.

    pixels: uint16[h, w] in [0, 2**bits - 1], larger is denser. All False if nothing can be told apart.
    """
    small, rows, columns = _reduce(pixels)
    mask = _small_mask(small)
    return mask[np.repeat(np.arange(len(rows)), rows)][:, np.repeat(np.arange(len(columns)), columns)]


def _edges(length: int, parts: int) -> np.ndarray:
    """int[parts + 1]: where `length` is cut into nearly equal parts, the same from either end."""
    edges = np.arange(parts + 1) * length // parts
    half = (parts + 1) // 2
    edges[-half:] = length - edges[:half][::-1]
    return edges


def _reduce(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(float32[H, W] means of nearly square blocks, rows of each block, columns of each block)."""
    factor = max(1.0, max(pixels.shape) / _ROWS)
    edges = [_edges(n, max(1, round(n / factor))) for n in pixels.shape]
    total = np.add.reduceat(pixels, edges[0][:-1], axis=0, dtype=np.uint32)
    total = np.add.reduceat(total, edges[1][:-1], axis=1).astype(np.float32)
    rows, columns = np.diff(edges[0]), np.diff(edges[1])
    return total / (rows[:, None] * columns), rows, columns


def _disc(radius: float) -> np.ndarray:
    n = int(radius)
    y, x = np.mgrid[-n : n + 1, -n : n + 1]
    return x * x + y * y <= radius * radius


def _open(mask: np.ndarray, radius: float) -> np.ndarray:
    """Opening by a disc, by distances; outside the frame counts as inside, so that the frame erodes nothing."""
    padded = np.pad(mask, int(radius) + 1, mode="symmetric")
    core = ndimage.distance_transform_edt(padded) > radius
    grown = ndimage.distance_transform_edt(~core) <= radius
    n = int(radius) + 1
    return grown[n:-n, n:-n] & mask


def _threshold(values: np.ndarray) -> float:
    """The level that ends the background's part of the histogram."""
    low, high = values.min(), np.quantile(values, 0.995)
    bins = 256
    counts = np.bincount(np.clip((values - low) * (bins / max(high - low, 1e-6)), 0, bins - 1).astype(int).ravel(), minlength=bins)
    density = ndimage.uniform_filter1d(counts.astype(float), 3)
    levels = np.arange(bins)
    weight = np.cumsum(counts)
    mean = np.cumsum(counts * levels)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean[-1] * weight / weight[-1] - mean) ** 2 / (weight * (weight[-1] - weight))
    otsu = int(np.nanargmax(np.where(np.isfinite(between), between, -1)))
    reference = np.median(density[otsu // 4 : 3 * otsu // 4])
    above = np.flatnonzero(density[: otsu // 3] > 2.5 * reference)
    level = above[-1] + 1 if above.size else 0
    import os
    if os.environ.get("DBG"):
        print("otsu", otsu, "level", level, level * (high - low) / bins + low, "ref", reference)
    level = np.clip(level, 0.06 * otsu, 0.5 * otsu)
    return low + (level + 1) * (high - low) / bins


def _small_mask(small: np.ndarray) -> np.ndarray:
    smooth = ndimage.gaussian_filter(small, 1.0)
    mask = smooth > _threshold(smooth)
    mask = _open(mask, 0.012 * max(mask.shape))
    parts, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return ndimage.binary_fill_holes(parts == sizes.argmax())
