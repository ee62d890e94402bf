"""PGM of both kinds, raw (P5) and plain (P2), after Netpbm's description of the format."""

import re

import numpy as np

from mammojax.images.mammogram import Rejected, check_size
from mammojax.images.reading.grey_picture import GreyPicture

# magic, width, height, maxval, parted by white space and comments to the end of the line; then one byte
_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_HEADER = re.compile(rb"P([25])" + 2 * (_GAP + rb"(\d{1,9})") + _GAP + rb"(\d{1,9})\s")


def read_pgm(data: bytes, max_pixels: int) -> GreyPicture:
    """The picture of a PGM file; its maxval states the depth, unless it is 65535.

    max_pixels: larger declared sizes are rejected before memory is taken. Raises Rejected for anything else, and unless
    the file holds exactly the pixels that it declares.
    """
    match = _HEADER.match(data[:65536])
    if not match:
        raise Rejected("PGM without a readable header; truncated?")
    width, height, maxval = (int(match[i]) for i in (2, 3, 4))
    check_size(height, width, max_pixels)
    if not 1 <= maxval <= 65535:
        raise Rejected(f"PGM with a largest value of {maxval}; 1 to 65535 are allowed")
    count, body = width * height, data[match.end() :]
    if match[1] == b"2":
        pixels = _plain_values(body, count)
    else:
        form = np.dtype(">u2" if maxval > 255 else "u1")
        needed = count * form.itemsize
        if len(body) < needed:
            raise Rejected(f"truncated: {len(body)} bytes of pixels, {needed} declared")
        if body[needed:].strip():
            raise Rejected(f"damaged: {len(body)} bytes of pixels, {needed} declared")
        pixels = np.frombuffer(body, form, count).astype(np.uint16)
    if int(pixels.max()) > maxval:
        raise Rejected(f"PGM holds {int(pixels.max())}, more than its largest value of {maxval}")
    # 65535 is what writers put who do not know; a smaller one is a statement
    stated = (maxval.bit_length(), f"maxval {maxval}") if maxval < 65535 else ()
    return GreyPicture(pixels.reshape(height, width), ("PGM",), *stated)


def states_no_depth(start: bytes) -> bool:
    """Whether a PGM file that starts so has the largest value of its container, which is no statement."""
    match = _HEADER.match(start)
    return bool(match) and int(match[4]) == 65535


def _plain_values(body: bytes, count: int) -> np.ndarray:
    """uint16[count] from decimal numbers, without a Python object for each."""
    # a digit and a space each: checked before memory is taken for `count` values
    if len(body) < 2 * count - 1:
        raise Rejected(f"truncated: {len(body)} bytes cannot hold {count} values")
    if len(body) > 16 * count + 2**20:  # 6 suffice; comments cost far more than their own size
        raise Rejected(f"damaged: {len(body)} bytes for {count} values")
    body = re.sub(rb"#[^\r\n]*", b"", body)
    if re.search(rb"[^0-9\s]", body):
        raise Rejected("plain PGM with something else than numbers")
    if re.search(rb"\d{10}", body):
        raise Rejected("plain PGM with values above 65535")
    values = np.fromstring(body, np.int64, count=-1, sep=" ")
    if values.size != count:
        raise Rejected(
            f"{'truncated' if values.size < count else 'damaged'}: {values.size} values, {count} declared"
        )
    if values.max() > 65535:
        raise Rejected("plain PGM with values above 65535")
    return values.astype(np.uint16)
