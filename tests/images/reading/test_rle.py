"""RLE frames against pydicom's encoder, and frames that do not hold what is declared."""

import io
import struct
import tracemalloc

import numpy as np
import pydicom
import pytest
from pydicom import uid

from mammojax.images.mammogram import Rejected
from mammojax.images.reading.rle import decode_rle


def frame_of(dicom_file, pixels, bits) -> bytes:
    header = pydicom.dcmread(io.BytesIO(dicom_file(pixels, bits=bits, syntax=uid.RLELossless)))
    return next(pydicom.encaps.generate_frames(header.PixelData, number_of_frames=1))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("shape", [(1, 2), (33, 21), (64, 200)])
def test_what_pydicom_encodes_comes_back(dicom_file, bits, shape):
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 2**bits, shape)
    runs = np.repeat(rng.integers(0, 2**bits, (shape[0], -(-shape[1] // 9))), 9, 1)[:, : shape[1]]
    for pixels in (noise, runs, np.where(noise > 2 ** (bits - 1), noise, runs)):
        pixels = pixels.astype(f"u{bits // 8}")
        decoded = decode_rle(frame_of(dicom_file, pixels, bits), *shape, bits)
        assert decoded.dtype == pixels.dtype
        np.testing.assert_array_equal(decoded, pixels)


def test_a_frame_of_more_or_fewer_pixels_than_declared_is_rejected(dicom_file, stored):
    frame = frame_of(dicom_file, stored, 16)
    for rows, reason in ((41, "truncated"), (39, "more than the 1170 bytes")):
        with pytest.raises(Rejected, match=reason):
            decode_rle(frame, rows, 30, 16)
    with pytest.raises(Rejected, match="segments"):
        decode_rle(frame, 40, 30, 8)
    for end in range(0, len(frame) - 1, 97):
        with pytest.raises(Rejected):
            decode_rle(frame[:end], 40, 30, 16)


def test_segments_out_of_order_are_rejected(dicom_file, stored):
    frame = bytearray(frame_of(dicom_file, stored, 16))
    first, second = struct.unpack_from("<2I", frame, 4)
    for offsets in ((second, first), (first, first), (first, len(frame) + 5), (12, second)):
        struct.pack_into("<2I", frame, 4, *offsets)
        with pytest.raises(Rejected):
            decode_rle(bytes(frame), 40, 30, 16)


def test_a_bomb_is_not_unpacked():
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x07" * 500_000  # 64 MB
    tracemalloc.start()
    with pytest.raises(Rejected, match="more than the 1200 bytes"):
        decode_rle(frame, 40, 30, 8)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
