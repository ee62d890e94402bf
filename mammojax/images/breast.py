"""Where the breast is: mask, box and the crop in canonical orientation.

All levels are taken from the picture itself, so that neither an offset of the background nor the scale of
the values matters. The work is done on a copy reduced to some 512 rows.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from mammojax.errors import UserError
from mammojax.images.geometry import Box, Geometry
from mammojax.images.mammogram import Mammogram, Rejected
from mammojax.images.polarity import looks_inverted

_ROWS = 512  # of the reduced copy, about
_THIN = 0.025  # half the width, as a share of the longer side, of what is too thin to be breast
_BINS = 256  # of the histogram
_DENSE = 4.0  # times the thin part of the histogram
_PEAK = 3.0  # times as dense again must a film base be that is brighter than a third of Otsu's threshold
_SHARP = 0.75  # a jump within three pixels, as a share of the range of tissue, that no skin makes
_LEAST = 0.04  # share of the picture below which a mask is not believed
_SECOND = 0.4  # of the breast's area: more is no label or bar
_UPRIGHT = 0.05  # a lean below this tells no side; breasts that do not fill the frame have 0.08 and more


@dataclass(frozen=True, eq=False)
class Crop:
    """The breast of one mammogram, chest wall at the left.

    image: uint16[h, w], values in [0, 2**bits - 1]. box: in the original. geometry: maps the crop to the
    original. flipped: whether columns were reversed. side: "left" or "right", where the chest wall lies in
    the original. mask_fraction: share of the original's pixels that the breast mask covers. mask: bool[h, w],
    True on the breast, the mask by which pixels were cleared; all True where none was believed. warnings:
    what a reader should know.
    """

    image: np.ndarray
    bits: int
    box: Box
    geometry: Geometry
    flipped: bool
    side: str
    mask_fraction: float
    mask: np.ndarray
    warnings: tuple[str, ...] = ()


def crop_breast(mammogram: Mammogram, *, margin: float = 0.02) -> Crop:
    """The breast's box cut out and flipped so that the chest wall is at the left.

    margin: what the box is grown by, as a share of its longer side. What lies in the box but further than this from
    the mask (letters, tape, bars) is set to 0: a network must not read it. If no plausible mask is found the whole
    frame is kept as it is, and a warning says so. Raises Rejected for a picture without content.
    """
    pixels = mammogram.pixels
    if pixels.size == 0 or pixels.min() == pixels.max():
        raise Rejected("empty picture: no breast can be found")
    mask, warnings = breast_mask(pixels), []
    doubts = _doubts(pixels, mask)
    fraction = float(mask.mean())
    if fraction < _LEAST:
        warnings.append(
            f"the breast mask covers {fraction:.1%} of the picture, less than {_LEAST:.0%}, and "
            "was not believed; the whole frame is kept"
        )
        box = Box(0, 0, *pixels.shape)
    else:
        box = breast_box(mask, margin=margin)
    side = chest_wall_side(mask)
    usual = {"L": "left", "R": "right"}.get(mammogram.laterality, "")
    if abs(_lean(mask)) < _UPRIGHT:
        warnings.append(
            "the mask does not tell where the chest wall is; taken as "
            + (f"{usual}, usual for {mammogram.laterality}" if usual else f"{side}")
        )
        side = usual or side
    elif usual and usual != side:
        warnings.append(
            f"laterality: the file says {mammogram.laterality}, whose chest wall is usually "
            f"{usual}; the mask says {side}, which is believed for the orientation"
        )
    image, geometry, flipped = pixels[box.slices], Geometry().cropped(box), side == "right"
    mask = mask[box.slices]
    if flipped:
        image, mask, geometry = image[:, ::-1], mask[:, ::-1], geometry.flipped(box.width)
    if fraction >= _LEAST:
        image = _cleared(image, mask, reach=margin * max(box.height, box.width))
    else:
        mask = np.ones_like(mask)
    return Crop(
        image=np.ascontiguousarray(image),
        bits=mammogram.bits,
        box=box,
        geometry=geometry,
        flipped=flipped,
        side=side,
        mask_fraction=fraction,
        mask=np.ascontiguousarray(mask),
        warnings=(*warnings, *doubts),
    )


def _doubts(pixels: np.ndarray, mask: np.ndarray) -> list[str]:
    """What lets one doubt that this is the picture of one breast as it should be shown."""
    doubts = []
    if looks_inverted(pixels):
        doubts.append("looks inverted: what is around the breast is white; believed as it is")
    if (share := _beside(pixels, mask)) > _SECOND:
        doubts.append(
            f"an area of {share:.0%} of the breast's size lies beside it, as bright, and was cleared; two breasts in one picture?"
        )
    return doubts


def _beside(pixels: np.ndarray, mask: np.ndarray) -> float:
    """The largest area outside the mask that is brighter than halfway from the air to the breast, as a share of the breast's
    area.
    """
    step = max(1, max(pixels.shape) // 256)
    small, inside = pixels[::step, ::step], mask[::step, ::step]
    if not inside.any() or inside.all():
        return 0.0
    halfway = (np.median(small[inside]) + np.median(small[~inside])) / 2
    bright = (small > halfway) & ~ndimage.binary_dilation(inside, iterations=3)
    parts, count = ndimage.label(ndimage.binary_opening(bright, iterations=2))
    return float(np.bincount(parts.ravel())[1:].max() / inside.sum()) if count else 0.0


def _cleared(image: np.ndarray, mask: np.ndarray, *, reach: float) -> np.ndarray:
    """The image with 0 wherever the mask is further away than `reach` pixels."""
    step = max(1, int(reach / 4))  # the distance is measured on a coarse grid: an edge needs no single pixels
    near = ndimage.distance_transform_edt(~mask[::step, ::step]) * step <= reach + step
    near = near.repeat(step, 0).repeat(step, 1)[: image.shape[0], : image.shape[1]]
    return np.multiply(image, near, dtype=image.dtype)


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
    """ "left" or "right": where the chest wall lies, the side towards which the breast is taller.

    mask: bool[h, w], True on the breast. An empty or symmetric mask gives "left".
    """
    return "right" if _lean(mask) > 0 else "left"


def _lean(mask: np.ndarray) -> float:
    """In [-1, 1]: how far the mask's area lies right (above 0) or left of the middle of its columns."""
    heights = mask.sum(axis=0)
    columns = np.flatnonzero(heights)
    if columns.size < 2:
        return 0.0
    heights = heights[columns[0] : columns[-1] + 1]
    return float(heights @ np.linspace(-1, 1, heights.size) / heights.sum())


def breast_mask(pixels: np.ndarray) -> np.ndarray:
    """bool[h, w]: True on the breast, False on background, film base, labels, lettering and scanner bars.

    pixels: uint16[h, w], larger is denser. All False if nothing can be told apart.
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
    total = np.empty((len(edges[0]) - 1, pixels.shape[1]), np.uint32)
    # reduceat along rows takes thirteen times as long
    for row, (start, end) in enumerate(pairwise(edges[0])):
        pixels[start:end].sum(axis=0, dtype=np.uint32, out=total[row])
    total = np.add.reduceat(total, edges[1][:-1], axis=1, dtype=np.float64).astype(np.float32)
    rows, columns = np.diff(edges[0]), np.diff(edges[1])
    return total / (rows[:, None] * columns), rows, columns


def _body(mask: np.ndarray, radius: float) -> np.ndarray:
    """The largest part of `mask` without what is thinner than two radii and sticks out by over 1.5 radii.

    So strips of tape, lettering and bridges to labels go, nipples and corners, which stick out less, stay.
    """
    padded = np.pad(mask, int(radius) + 2)
    core = ndimage.distance_transform_edt(padded) > radius
    parts, count = ndimage.label(core)
    if not count:
        return np.zeros(mask.shape, bool)
    sizes = np.bincount(parts.ravel())[1:]
    reach = ndimage.distance_transform_edt(parts != 1 + sizes.argmax())
    body = (reach <= radius) & padded
    rest, count = ndimage.label(padded & ~body, np.ones((3, 3)))
    if count:
        farthest = ndimage.maximum(reach, rest, np.arange(count + 1))
        touching = np.zeros(count + 1, bool)
        touching[rest[ndimage.binary_dilation(body)]] = True
        keep = touching & (farthest <= 2.5 * radius)
        keep[0] = False
        body |= keep[rest]
    inner = int(radius) + 2
    return body[inner:-inner, inner:-inner]


def _background_ends(values: np.ndarray) -> tuple[float, float]:
    """(level that ends the background, level of the brightest tissue).

    The background is what lies in the histogram's dense low part. A film has two of them, the padding of
    the file and the film's base; between base and tissue the histogram is thin, for only skin has such
    values. The level is where that thin part begins, coming from Otsu's threshold, within bounds that keep
    faint skin and leave out noise.
    """
    low, high = float(values.min()), float(np.quantile(values, 0.995))
    step = max(high - low, 1e-6) / _BINS
    counts = np.bincount(np.clip((values - low) / step, 0, _BINS - 1).astype(int).ravel(), minlength=_BINS)
    below, levels = np.cumsum(counts), np.arange(_BINS)
    above, moment = below[-1] - below, np.cumsum(counts * levels)
    between = (moment[-1] * below / below[-1] - moment) ** 2 / np.maximum(below * above, 1)
    otsu = max(4, int(np.argmax(between)))
    density = ndimage.uniform_filter1d(counts.astype(float), 3)
    thin = _DENSE * np.median(density[otsu // 4 : 3 * otsu // 4])
    # a bright film base is a narrow high peak, dark fatty tissue a broad low one at the same levels
    peak = np.where(levels < otsu // 3, thin, _PEAK * thin)
    dense = np.flatnonzero(density[: otsu * 3 // 5] > peak[: otsu * 3 // 5])
    level = np.clip(dense[-1] + 1 if dense.size else 0, 0.06 * otsu, 0.6 * otsu)
    return low + (level + 1) * step, high


def _small_mask(small: np.ndarray) -> np.ndarray:
    """bool[H, W]: the breast in a reduced picture, float32[H, W]."""
    smooth = ndimage.gaussian_filter(small, 1.0)
    level, high = _background_ends(smooth)
    # skin fades over many pixels; paper labels and scanner bars that touch it end within one or two
    jump = ndimage.maximum_filter(small, 3) - ndimage.minimum_filter(small, 3)
    mask = (smooth > level) & (jump < _SHARP * (high - level))
    return ndimage.binary_fill_holes(_body(mask, _THIN * max(mask.shape)))
