"""PNG, TIFF and PGM that are damaged, cut short or mean harm: found, and never at the cost of memory."""

import contextlib
import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from mammojax.images.mammogram import Rejected
from mammojax.images.reading.any_file import read_mammogram
from tests.images.reading.rasters import png, random_picture, rejection, tiff


def test_data_after_the_end_of_a_png_are_ignored_with_a_warning():
    pixels = random_picture(8).astype(np.uint8)
    assert read_mammogram(png(pixels) + bytes(100), "x").warnings == ()  # padding of a transfer
    mammogram = read_mammogram(png(pixels) + b"PNG again", "x")
    np.testing.assert_array_equal(mammogram.pixels, pixels)
    assert "after the end" in mammogram.warnings[0]


def flipped(data: bytes, seed: int, count: int, start: int = 0, end: int | None = None):
    """The file with one bit flipped, `count` times, somewhere from start to end."""
    rng = np.random.default_rng(seed)
    for position in rng.integers(start, len(data) if end is None else end, count):
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(rng.integers(8))
        yield bytes(damaged)


def saved(pixels, **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, **options)
    return out.getvalue()


@pytest.mark.parametrize("depth", [8, 16])
def test_one_flipped_bit_anywhere_in_a_png_is_found(depth):
    smooth = np.add.outer(np.arange(40), np.arange(30)).astype(
        f"u{depth // 8}"
    )  # filters and matches are used
    for data in (saved(smooth, format="PNG"), png(smooth, 0, (b"tEXt", b"a comment"), (b"IDAT", b""))):
        np.testing.assert_array_equal(read_mammogram(data, "x", depth=16).pixels, smooth)
        for damaged in flipped(data, depth, 200):
            with pytest.raises(Rejected):
                read_mammogram(damaged, "x", depth=16)


def test_pixels_of_a_png_are_counted_and_their_own_checksum_is_looked_at():
    pixels = random_picture(8, shape=(20, 10)).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def with_body(body):  # all chunks have the right checksum
        header = struct.pack(">IIBBBBB", 10, 20, 8, 0, 0, 0, 0)
        parts = [(b"IHDR", header), (b"IDAT", body[:60]), (b"IDAT", body[60:]), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts
        )

    whole = zlib.compress(rows)
    np.testing.assert_array_equal(read_mammogram(with_body(whole), "x").pixels, pixels)
    assert "checksum" in rejection(with_body(whole[:-1] + bytes([whole[-1] ^ 1])))
    assert "209 of 220" in rejection(with_body(zlib.compress(rows[:-11])))
    assert "more than" in rejection(with_body(zlib.compress(rows + rows)))
    assert "after its end" in rejection(with_body(whole + b"more"))
    assert "220 of 220" in rejection(with_body(whole[:-4]))  # all pixels, no checksum
    assert "more than" in rejection(with_body(zlib.compress(rows + bytes(50_000_000))))


@pytest.mark.parametrize("shape", [(40, 30), (1, 9), (3, 2), (9, 5)])
def test_interlaced_pngs_are_read(shape):
    pixels = random_picture(8, shape=shape).astype(np.uint8)
    passes = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    body = b""
    for top, left, down, right in passes:
        part = pixels[top::down, left::right]
        body += b"".join(b"\0" + row.tobytes() for row in part) if part.size else b""
    plain = png(pixels)
    header = plain[16:28] + b"\1"
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    data = plain[:8] + b"".join(
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts
    )
    np.testing.assert_array_equal(read_mammogram(data, "x").pixels, pixels)


COMPRESSIONS = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")


def tags_of(data: bytes) -> dict[int, int]:
    """Where the value of each tag of a little-endian TIFF's first directory lies in the file."""
    start = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[start : start + 2], "little")
    entries = (start + 2 + 12 * k for k in range(count))
    return {int.from_bytes(data[e : e + 2], "little"): e + 8 for e in entries}


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """The file with one tag of a single value changed."""
    where = tags_of(data)[tag]
    size = 2 if data[where - 6] == 3 else 4
    return data[:where] + value.to_bytes(size, "little") + data[where + size :]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_with_fewer_rows_of_data_than_declared_has_no_black_rows(compression, bits):
    smooth = np.add.outer(np.arange(256), np.arange(30)).astype(f"u{bits // 8}")
    data = saved(smooth, format="TIFF", compression=compression)
    np.testing.assert_array_equal(read_mammogram(data, "x", depth=bits).pixels, smooth)
    longer = with_tag(data, 257, 400)
    for damaged in (longer, with_tag(longer, 278, 400)):
        rejection(damaged, depth=bits)
    rejection(data[: len(data) - 40], depth=bits)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_tiffs_of_several_strips_are_read_and_a_strip_that_is_absent_is_missed(compression, monkeypatch):
    from PIL import TiffImagePlugin

    monkeypatch.setattr(TiffImagePlugin, "STRIP_SIZE", 600)
    smooth = np.add.outer(np.arange(256), np.arange(30)).astype(np.uint16)
    data = saved(smooth, format="TIFF", compression=compression)
    np.testing.assert_array_equal(read_mammogram(data, "x", depth=12).pixels, smooth)
    assert "strips" in rejection(with_tag(data, 257, 400), depth=12)
    on_its_side = saved(smooth, format="TIFF", compression=compression, tiffinfo={274: 6})
    np.testing.assert_array_equal(read_mammogram(on_its_side, "x", depth=12).pixels, np.rot90(smooth, -1))


def test_one_flipped_bit_in_a_deflate_tiff_is_found():
    smooth = (np.add.outer(np.arange(90), np.arange(30)) * 7).astype(np.uint16)
    data = saved(smooth, format="TIFF", compression="tiff_adobe_deflate")
    where = tags_of(data)
    start, length = (int.from_bytes(data[where[tag] : where[tag] + 4], "little") for tag in (273, 279))
    for damaged in flipped(data, 1, 300, start, start + length):
        try:
            mammogram = read_mammogram(damaged, "x", depth=16)
        except Rejected:
            continue
        np.testing.assert_array_equal(mammogram.pixels, smooth)  # a bit that the stream does not use


def test_a_tiff_of_a_compression_that_cannot_be_checked_is_rejected_with_a_remedy():
    pixels = random_picture(8).astype(np.uint8)
    assert "compression 7; expected none, LZW" in rejection(saved(pixels, format="TIFF", compression="jpeg"))


def test_a_declared_size_beyond_the_limit_is_rejected_before_decoding(monkeypatch):
    monkeypatch.setattr("PIL.Image.Image.load", lambda *a: pytest.fail("decoded"))
    pixels = random_picture(12)
    for data in (png(pixels), tiff(pixels)):
        assert "limit of 500 pixels" in rejection(data, max_pixels=500)
    huge = struct.pack(">IIBBBBB", 100_000, 100_000, 16, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + b"IHDR"
        + huge
        + struct.pack(">I", zlib.crc32(b"IHDR" + huge))
    )
    assert "limit" in rejection(bomb + bytes(20))


@pytest.mark.parametrize("make", [png, tiff])
def test_a_truncated_file_is_rejected_and_a_damaged_one_too_unless_no_pixel_changed(make):
    """What a PNG holds is under checksums; of a TIFF without them a picture comes out that is as large as declared."""
    pixels = random_picture(12)
    data = make(pixels)
    for end in range(8, len(data) - 20, 37):
        rejection(data[:end])
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(data)
        for position in rng.integers(8, 200, 3):
            damaged[position] = rng.integers(0, 256)
        with contextlib.suppress(Rejected):
            found = read_mammogram(bytes(damaged), "x", max_pixels=10**6).pixels
            assert 0 < found.size <= 10**6 and found.dtype == np.uint16
            assert make is tiff or np.array_equal(found, pixels)


def peak_of(data, **options) -> tuple[str, float]:
    """(reason of the rejection or "", bytes that reading took at most)."""
    reason = ""
    tracemalloc.start()
    try:
        read_mammogram(data, "x", **options)
    except Rejected as rejected:
        reason = str(rejected)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return reason, peak


def test_text_that_inflates_beside_the_pixels_of_a_png_is_not_looked_at():
    pixels = random_picture(8).astype(np.uint8)
    bomb = zlib.compress(bytes(50_000_000))
    data = png(pixels, 0, (b"zTXt", b"a\0\0" + bomb), (b"iCCP", b"a\0\0" + bomb))
    reason, peak = peak_of(data)
    assert reason == "" and peak < 5e6  # the file has 100 kB
    np.testing.assert_array_equal(read_mammogram(data, "x").pixels, pixels)


def test_what_a_hostile_file_declares_is_not_believed_at_the_cost_of_memory():
    pixels = random_picture(8).astype(np.uint8)
    for data, reason in (
        (with_tag(with_tag(tiff(pixels), 257, 90_000_000 // 20), 278, 1), "strips of 4500000"),
        (b"P2 3 3 255\n" + b"#\n" * 1_000_000, "for 9 values"),
        (b"P2 3 3 255\n" + b"1" * 2_000_000, "for 9 values"),
    ):
        found, peak = peak_of(data)
        assert reason in found and peak < 10e6
