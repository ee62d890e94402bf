"""Grey pictures as PNG and TIFF, written by hand, so that any field of theirs can be wrong."""

import struct
import zlib

import numpy as np
import pytest

from mammojax.images.mammogram import Rejected
from mammojax.images.reading.any_file import read_mammogram


def png(pixels, kind=0, *chunks, depth=None) -> bytes:
    """A PNG of uint8 or uint16 samples, written by hand: any colour type and any chunk before the pixels."""
    depth = depth or pixels.dtype.itemsize * 8
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(pixels.shape[0], -1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, kind, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts
    )


def tiff(pixels, *, photometric=1, depth=None, sample_format=1) -> bytes:
    """An uncompressed little-endian TIFF, written by hand."""
    depth = depth or pixels.dtype.itemsize * 8
    tags = [
        (256, 4, pixels.shape[1]),
        (257, 4, pixels.shape[0]),
        (258, 3, depth),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, 8 + 2 + 12 * 10 + 4),
        (277, 3, 1),
        (278, 4, pixels.shape[0]),
        (279, 4, pixels.nbytes),
        (339, 3, sample_format),
    ]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + pixels.tobytes()


def random_picture(bits, seed=0, shape=(30, 20)):
    pixels = np.random.default_rng(seed).integers(0, 2**bits, shape)
    pixels.flat[:2] = 0, 2**bits - 1
    return pixels.astype(np.uint16)


def rejection(data, name="x", **options) -> str:
    with pytest.raises(Rejected) as caught:
        read_mammogram(data, name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
