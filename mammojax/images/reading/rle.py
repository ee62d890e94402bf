"""RLE Lossless (PS3.5 annex G), read strictly: each segment has to hold exactly the bytes of one plane of the picture.

pydicom's own decoder unpacks whatever is there before it looks at the length, 64 times the size of the file. Pillow's
PackBits decoder takes no more than it was asked for, but does not tell whether that was all: `_exact` finds out by asking
it for more, and for the same of less. What is not exact is gone through run by run, to say what is wrong.
"""

import struct

import numpy as np
from PIL import Image

from mammojax.images.mammogram import Rejected


def decode_rle(frame: bytes, rows: int, columns: int, allocated: int) -> np.ndarray:
    """uint8 or uint16[rows, columns] of a frame whose pixels are `allocated` bits wide, 8 or 16.

    Zeros may follow a segment, as padding. Raises Rejected for a frame that holds fewer or more pixels than that.
    """
    planes = allocated // 8
    if len(frame) < 64 or struct.unpack_from("<I", frame)[0] != planes:
        raise Rejected(f"the RLE frame does not have the {planes} segments of {allocated} bits a pixel")
    offsets = [*struct.unpack_from(f"<{planes}I", frame, 4), len(frame)]
    if offsets[0] < 64 or sorted(set(offsets)) != offsets:
        raise Rejected("damaged: the segments of the RLE frame do not follow each other")
    pixels = np.empty((rows * columns, planes), np.uint8)
    for k in range(planes):  # the most significant byte comes first
        pixels[:, planes - 1 - k] = _unpacked(frame[offsets[k] : offsets[k + 1]], rows * columns)
    return pixels.view(f"<u{planes}").astype(f"u{planes}", copy=False).reshape(rows, columns)


def _unpacked(segment: bytes, expected: int) -> np.ndarray:
    """uint8[expected]: the bytes of one segment."""
    if (exact := _exact(segment, expected)) is not None:
        return np.frombuffer(exact, np.uint8)
    parts, position, length, size = [], 0, 0, len(segment)
    while length < expected and position < size:
        head = segment[position]
        if head < 128:
            part = segment[position + 1 : position + 2 + head]
            position += 2 + head
        elif head > 128:
            part = segment[position + 1 : position + 2] * (257 - head)
            position += 2
        else:  # no operation
            position += 1
            continue
        parts.append(part)
        length += len(part)
    if length < expected:
        raise Rejected(f"truncated: an RLE segment holds {length} of {expected} bytes declared")
    if length > expected or segment[position:].strip(b"\0"):
        raise Rejected(f"damaged: an RLE segment holds more than the {expected} bytes declared")
    return np.frombuffer(b"".join(parts), np.uint8)


def _packbits(segment: bytes, length: int) -> bytes | None:
    """The first `length` bytes that a segment holds, None if it holds fewer."""
    try:
        # one row of all pixels: runs may cross the rows of the picture
        return Image.frombytes("L", (length, 1), segment, "packbits", "L").tobytes()
    except ValueError:  # not enough data
        return None


def _exact(segment: bytes, length: int) -> bytes | None:
    """What a segment holds, if that is `length` bytes and nothing else, but for one zero that makes its size even."""
    found = _packbits(segment, length)
    if found is None or _packbits(segment, length + 1) is not None:
        return None
    last = len(segment) - 1
    while _packbits(segment[:last], length) is not None:  # the byte at `last` was not needed
        if segment[last:] != b"\0":
            return None
        last -= 1
    return found
