"""JPEG, the lossy form in which public sets circulate as copies (ITU-T T.81): 8 bits, grey, and said to be so.

The format has no checksum: damage inside the coded pixels cannot be seen. What can be is refused: a frame that is not
there, an end that is missing, colours, several pictures, and more scans than any encoder writes.
"""

import numpy as np

from mammojax.images.mammogram import Rejected, check_size
from mammojax.images.reading.codestream import declared_size
from mammojax.images.reading.grey_picture import GreyPicture, decode

JPEG_START = b"\xff\xd8\xff"
_MOST_SCANS = 64  # a progressive file has about ten; each costs a pass over the whole picture
_COLOURED = 12  # grey levels between the channels of a pixel: what rounding in YCbCr leaves of grey is below


def read_jpeg(data: bytes, max_pixels: int, warnings: list[str]) -> GreyPicture:
    """The picture of an 8-bit JPEG, grey or of channels that are alike.

    max_pixels: larger declared sizes are rejected before memory is taken. Raises Rejected for anything else.
    """
    size = declared_size(data)
    if size is None:
        raise Rejected("JPEG without a frame; truncated?")
    check_size(size[0], size[1], max_pixels)
    if size[2] not in (1, 3):
        raise Rejected(f"JPEG of {size[2]} components; expected grey")
    if data.count(b"\xff\xda") > _MOST_SCANS:
        raise Rejected(f"JPEG of more than {_MOST_SCANS} scans")
    if b"\xff\xd9" not in data.rstrip(b"\0")[-64:]:
        raise Rejected("truncated: the JPEG has no end marker")
    pixels, _, turned = decode(data, "JPEG", max_pixels)
    if pixels.ndim == 3:
        if int(np.ptp(pixels, axis=2).max()) > _COLOURED:
            raise Rejected("colour JPEG; expected grey")
        pixels = np.rint(pixels.mean(axis=2))
    warnings.append("JPEG: lossy and 8 bits; what the original held beyond that is lost")
    return GreyPicture(np.ascontiguousarray(pixels, np.uint16), ("JPEG", *turned), 8, "its container")
