"""PNG, TIFF, PGM and JPEG files to a Mammogram.

A container is no bit depth: 12-bit pictures lie in 16-bit files both as 0 ... 4095 and stretched to 0 ...
65535. A file may state its depth (sBIT in PNG, maxval in PGM). Where it does not, one file cannot tell it by its
own values: the brightest pixel of a 12-bit picture may be 1000. Then it is a property of the data set, found by
`mammogram.usual_depth` from the largest `raster_maximum` of all its files, and given to `read_raster`.

Damage is a rejection wherever the format lets it be seen: checksums, exact lengths, all that is declared.
"""

import re

import numpy as np

from mammojax.images.mammogram import MAX_PIXELS, Mammogram, Rejected, check_values, values_present
from mammojax.images.reading.grey_picture import GreyPicture
from mammojax.images.reading.jpeg import JPEG_START, read_jpeg
from mammojax.images.reading.pgm import read_pgm
from mammojax.images.reading.png import PNG_START, read_png
from mammojax.images.reading.tiff import read_tiff
from mammojax.images.views import from_file_name, unusable_kind


def read_raster(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS, depth: int = 0) -> Mammogram:
    """The mammogram in a PNG, TIFF, PGM or JPEG file at full bit depth; brighter is taken for denser.

    data: the file's bytes. name: its name or path; laterality and view are guessed from words in its last
    part, and `rules` says so. 8 and 16-bit grey is read, also as RGB with equal channels or with an opaque
    alpha channel (8-bit). max_pixels: larger declared sizes are rejected before memory is taken. depth: bits of a
    16-bit picture that does not state its own, 0 where nobody knows; then all 16 are taken, with a warning that tells
    the largest value. Spacing and patient are unknown. Raises Rejected, with the reason, for anything else, a value
    beyond the depth among it.
    """
    if depth and not 8 <= depth <= 16:
        raise ValueError(f"depth is {depth}; expected 8 to 16 bits, or 0")
    warnings: list[str] = []
    picture = _read(data, max_pixels, warnings)
    pixels, rules = picture.pixels, list(picture.rules)
    check_values(int(values_present(pixels).sum()))
    largest = int(pixels.max())
    if picture.bits:
        bits = picture.bits
        rules.append(f"{bits} bits by {picture.stated}")
    elif depth:
        bits = depth
        rules.append(f"{bits} bits, stated for the data set")
        if largest >= 2**bits:
            raise Rejected(
                f"the largest value is {largest}, beyond the {bits} bits that are stated for the data set"
            )
    else:
        bits = 16
        rules.append("16 bits by the container")
        warnings.append(
            f"the depth of this 16-bit picture is stated nowhere; its largest value is {largest}, 16 bits are taken"
        )
    if (picture.bits or depth) and largest < 2**bits // 8:
        warnings.append(
            f"the largest value is {largest} of {2**bits - 1}: a picture of another depth than is taken?"
        )
    if picture.white_is_zero:
        pixels = (2**bits - 1 - pixels.astype(np.int32)).astype(np.uint16)
        rules.append("inverted WhiteIsZero")
    laterality, view = from_file_name(name)
    if kind := unusable_kind(re.split(r"[/\\]", name)[-1]):
        warnings.append(f"the file's name says {kind}; kept as a whole mammogram")
    guesses = [
        f"{what} guessed from the file name" for what, v in (("laterality", laterality), ("view", view)) if v
    ]
    return Mammogram(
        pixels=pixels,
        bits=bits,
        laterality=laterality,
        view=view,
        rules=(*rules, *guesses),
        warnings=tuple(warnings),
    )


def raster_maximum(data: bytes, *, max_pixels: int = MAX_PIXELS) -> int:
    """The largest value of a 16-bit PNG, TIFF or PGM that does not state its own depth; 0 for every other file.

    data: the file's bytes, whatever they are: DICOM, 8-bit pictures, those with a stated depth and what `read_raster`
    rejects give 0, for they have no say in the depth of a data set. Costs the decoding of the file.
    """
    try:
        picture = _read(data, max_pixels, [])
        check_values(int(values_present(picture.pixels).sum()))
    except Rejected:
        return 0
    return 0 if picture.bits else int(picture.pixels.max())


def _read(data: bytes, max_pixels: int, warnings: list[str]) -> GreyPicture:
    if data[:8] == PNG_START:
        return read_png(data, max_pixels, warnings)
    if data[:2] in (b"P2", b"P5"):
        return read_pgm(data, max_pixels)
    if data[:4] in (b"II*\0", b"MM\0*"):
        return read_tiff(data, max_pixels)
    if data.startswith(JPEG_START):
        return read_jpeg(data, max_pixels, warnings)
    raise Rejected("neither PNG, TIFF, PGM (P2, P5) nor JPEG")
