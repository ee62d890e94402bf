"""Which bits of a pixel's code are its stored value: what the header says, held against the pixels themselves.

PS3.5 8.1.1: a code is BitsAllocated wide, its value BitsStored wide with HighBit as its top bit. Files break this in
a few ways, all decided by one rule:

1. Bits that an overlay plane declares as its own (60xx,0102) are no part of a value.
2. What remains is compared with the header. A bit that is the same in all pixels tells nothing; in signed data bits
   above the value may repeat its sign. If all others lie where the header says, the header is believed.
3. Otherwise the header is wrong. Values start at bit 0, and have the smallest of these depths that holds them:
   BitsStored and HighBit + 1, the smaller first, then the usual depths. A warning tells what was taken.
"""

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from mammojax.images.mammogram import USUAL_DEPTHS

_LEAPS = 200


@dataclass(frozen=True)
class StoredBits:
    """Where a value lies in its code: `bits` bits from bit `lowest` on, two's complement if `signed`, without those
    that `overlay` has."""

    bits: int
    lowest: int = 0
    signed: bool = False
    overlay: int = 0

    def values(self, codes: np.ndarray) -> np.ndarray:
        """int64: the stored values of codes, int64 of any shape."""
        stored = ((codes & ~self.overlay) >> self.lowest) & (2**self.bits - 1)
        return np.where(stored >> (self.bits - 1) & int(self.signed), stored - 2**self.bits, stored)


def stored_bits(
    header: Dataset, *, present: np.ndarray, high_bit: int, padding: np.ndarray, warnings: list[str]
) -> StoredBits:
    """Where the values of a file's pixels lie in their codes, by the rule above; what was decided against the header
    is added to `warnings`.

    header: with BitsAllocated 8 or 16 and BitsStored in [1, BitsAllocated]. present: bool[2**BitsAllocated], the codes
    that occur. high_bit: the top bit by the header, below BitsAllocated. padding: bool, codes that are padding if the
    whole code is compared; they may lie anywhere.
    """
    allocated, stored = int(header.BitsAllocated), int(header.BitsStored)
    signed, overlay = bool(header.get("PixelRepresentation", 0)), _overlay_bits(header)
    lowest = high_bit + 1 - stored
    codes = np.flatnonzero(present & ~padding)
    if lowest >= 0:
        overlay &= ~(((1 << stored) - 1) << lowest)  # a plane inside the values is a plane that is not there
        told = StoredBits(stored, lowest, signed, overlay)
        if not codes.size or _lie_within(codes & ~overlay, told, allocated):
            if lowest:
                warnings.append(
                    f"HighBit {high_bit} with BitsStored {stored}: values are bits {lowest} to {high_bit}"
                )
            return told
    codes = np.unique(codes & ~overlay)
    if signed:
        codes = np.where(codes >> (allocated - 1), codes - (1 << allocated), codes)
    below = bool(codes.size and codes.min() < 0)
    low, high = (-2 * codes.min(), 2 * codes.max() + 1) if below else (0, codes.max(initial=0))
    depths = (*sorted({stored, high_bit + 1}), *USUAL_DEPTHS)
    bits = next(b for b in depths if low <= 1 << b and high < 1 << b and b <= allocated)
    warnings.append(
        f"BitsStored {stored} and HighBit {high_bit} contradict the pixels, which use other bits that no overlay "
        f"plane declares; {'signed ' if below else ''}values of {bits} bits are taken"
    )
    return StoredBits(bits, 0, below, overlay)


def sign_is_doubtful(codes: np.ndarray, *, high_bit: int, signed: bool) -> bool:
    """Whether values leap from one end of their range to the other all over the picture, and would not with the sign the other
    way round: PixelRepresentation is wrong then, and what is brightest is shown darkest.

    codes: uint[h, w]. Edges of letters and bars leap as well, in fewer than one of `_LEAPS` pairs of neighbours.
    """
    rows = codes[:: max(1, len(codes) // 256)].astype(np.int64) & ((1 << high_bit + 1) - 1)
    top = (rows >> high_bit).astype(bool)
    if not top.any() or top.all():
        return False
    plain, wrapped = (
        int((np.abs(np.diff(values, axis=1)) > 1 << high_bit).sum())
        for values in (rows, np.where(top, rows - (1 << high_bit + 1), rows))
    )
    told, other = (wrapped, plain) if signed else (plain, wrapped)
    return told > rows.size / _LEAPS and other < told / 10


def _lie_within(codes: np.ndarray, told: StoredBits, allocated: int) -> bool:
    """Whether all bits outside of what the header says are constant, or repeat the sign above it."""
    rest = codes & ~(((1 << told.bits) - 1) << told.lowest)
    if not (rest ^ rest[0]).any():
        return True
    top = told.lowest + told.bits
    above = ((1 << allocated) - 1) & ~((1 << top) - 1)
    sign = (codes >> (top - 1) & 1).astype(bool)
    return told.signed and bool((rest == np.where(sign, above, 0)).all())


def _overlay_bits(header: Dataset) -> int:
    """The bits of a code that overlay planes declare: those of planes without data of their own (PS3.3 C.9.2)."""
    bits = 0
    for group in range(0x6000, 0x6020, 2):
        if (group, 0x0102) not in header or (group, 0x3000) in header:
            continue
        try:
            position = int(header[group, 0x0102].value)
        except (TypeError, ValueError, AttributeError, KeyError):
            continue
        if 0 <= position < 16:
            bits |= 1 << position
    return bits
