"""One decoded mammogram, and the reason why a file is none."""

from dataclasses import dataclass, field

import numpy as np

from mammojax.errors import UserError

MAX_PIXELS = 100_000_000
"""Largest declared picture that is decoded, in pixels: three times the largest films (5600 x 4800 at 43
microns).
"""

USUAL_DEPTHS = (8, 10, 12, 14, 16)  # bits of detectors and of their display values


class Rejected(UserError):
    """A file that cannot be used. The message is the reason: no path (the caller knows the file), no
    identifier.
    """


@dataclass(frozen=True, eq=False)
class Mammogram:
    """One view of one breast at full bit depth.

    pixels: uint16[h, w], 0 the darkest, larger is denser tissue (the sense of MONOCHROME2). bits: values
    lie in [0, 2**bits - 1], the full scale. laterality: "L", "R" or "" (unknown). view: "CC", "MLO", "ML",
    ... or "". spacing: mm a pixel (rows, columns) or None; `rules` tells which element it is from. patient:
    as in the file, "" if unknown; never to be printed. device: manufacturer and model, "" if unknown. rules: the decoding rules that were applied, in
    order. warnings: what a reader should know.
    """

    pixels: np.ndarray
    bits: int
    laterality: str = ""
    view: str = ""
    spacing: tuple[float, float] | None = None
    patient: str = field(default="", repr=False)
    device: str = ""
    rules: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        h, w = self.pixels.shape
        return (
            f"Mammogram({h} x {w}, {self.bits} bits, laterality={self.laterality!r}, view={self.view!r}, "
            f"rules={self.rules}, warnings={self.warnings})"
        )


def check_size(height: int, width: int, max_pixels: int) -> None:
    """Raises Rejected for a declared size that no mammogram has; to be called before memory is taken."""
    if height < 1 or width < 1:
        raise Rejected(f"empty picture: {height} rows and {width} columns are declared")
    if height * width > max_pixels:
        raise Rejected(f"{height} x {width} pixels are declared, more than the limit of {max_pixels} pixels")


def values_present(pixels: np.ndarray) -> np.ndarray:
    """bool[65536]: which values occur in `pixels` (uint8 or uint16, any shape)."""
    present = np.zeros(65536, bool)
    present[pixels] = True
    return present


def check_values(count: int) -> None:
    """Raises Rejected for a picture with so few different values that it is no mammogram. count: how many
    occur.
    """
    if count <= 1:
        raise Rejected("constant picture: all pixels have the same value")
    if count == 2:
        raise Rejected("a mask: the picture has two different values only")


def usual_depth(maximum: int) -> int:
    """The smallest usual depth (8, 10, 12, 14 or 16 bits) that holds a value, such as the largest of a data set."""
    return next(bits for bits in USUAL_DEPTHS if maximum < 2**bits)
