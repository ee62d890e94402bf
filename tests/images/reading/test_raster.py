"""PNG, TIFF and PGM: the depth by what the file says or holds, never by its container; hostile files."""

import contextlib
import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from mammojax.images.mammogram import Rejected, usual_depth
from mammojax.images.reading.any_file import read_mammogram
from mammojax.images.reading.raster import raster_maximum


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


def unstated(pixels, form) -> bytes:
    """A 16-bit file that does not tell how many of its bits are used."""
    if form == "pgm":
        return b"P5 %d %d 65535\n" % pixels.shape[::-1] + pixels.astype(">u2").tobytes()
    return {"png": png, "tiff": tiff}[form](pixels)


@pytest.mark.parametrize("form", ["png", "tiff", "pgm"])
def test_two_pictures_of_one_scanner_keep_their_ratio_whatever_their_own_maxima_are(form):
    pair = [np.minimum(random_picture(12), top) for top in (1000, 1100)]  # either side of 10 bits
    for depth in (0, 12, 14):
        read = [read_mammogram(unstated(p, form), "x", depth=depth) for p in pair]
        assert [m.bits for m in read] == [depth or 16] * 2
        for mammogram, pixels in zip(read, pair):
            np.testing.assert_array_equal(mammogram.pixels, pixels)
        told = [f"its largest value is {top}, 16 bits are taken" for top in (1000, 1100)]
        assert [any(t in w for w in m.warnings) for t, m in zip(told, read)] == [not depth] * 2


@pytest.mark.parametrize("form", ["png", "tiff", "pgm"])
def test_a_value_beyond_the_stated_depth_is_a_rejection_that_names_both(form):
    data = unstated(np.minimum(random_picture(12), 1100), form)
    assert read_mammogram(data, "x", depth=11).bits == 11
    assert "1100, beyond the 10 bits" in rejection(data, depth=10)
    with pytest.raises(ValueError, match="8 to 16"):
        read_mammogram(data, "x", depth=17)


def test_the_maximum_of_a_data_set_is_asked_of_the_files_that_state_no_depth():
    pixels = np.minimum(random_picture(12), 1100)
    for form in ("png", "tiff", "pgm"):
        assert raster_maximum(unstated(pixels, form)) == 1100
    for data in (
        png(pixels, 0, (b"sBIT", b"\x0c")),
        png(pixels, 0, (b"sBIT", b"\x10")),
        png((pixels >> 4).astype(np.uint8)),
        b"P5 %d %d 4095\n" % pixels.shape[::-1] + pixels.astype(">u2").tobytes(),
        png(pixels)[:-30],
        b"text",
        b"",
    ):
        assert raster_maximum(data) == 0
    assert [usual_depth(m) for m in (0, 255, 256, 1023, 1024, 4095, 4096, 65535)] == [
        8,
        8,
        10,
        10,
        12,
        12,
        14,
        16,
    ]


def test_what_a_file_states_itself_comes_before_what_is_stated_for_the_data_set():
    pixels = random_picture(12)
    for data in (
        png(pixels, 0, (b"sBIT", b"\x0c")),
        png((pixels << 4).astype(np.uint16), 0, (b"sBIT", b"\x0c")),
        b"P5 %d %d 4095\n" % pixels.shape[::-1] + pixels.astype(">u2").tobytes(),
    ):
        mammogram = read_mammogram(data, "x", depth=14)
        assert mammogram.bits == 12
        np.testing.assert_array_equal(mammogram.pixels, pixels)


@pytest.mark.parametrize(
    "stretch",
    [
        lambda v: v << 4,
        lambda v: (v << 4) | (v >> 8),
        lambda v: np.rint(v * (65535 / 4095)).astype(np.uint16),
    ],
)
def test_12_bits_stretched_to_16_with_sbit_come_back_exactly(stretch):
    pixels = random_picture(12)
    mammogram = read_mammogram(png(stretch(pixels).astype(np.uint16), 0, (b"sBIT", b"\x0c")), "x.png")
    assert mammogram.bits == 12
    np.testing.assert_array_equal(mammogram.pixels, pixels)


def test_sbit_on_values_that_were_not_stretched_keeps_them():
    pixels = random_picture(12)
    mammogram = read_mammogram(png(pixels, 0, (b"sBIT", b"\x0c")), "x.png")
    assert mammogram.bits == 12
    np.testing.assert_array_equal(mammogram.pixels, pixels)


def test_sbit_that_would_lose_values_is_not_believed():
    pixels = random_picture(16, shape=(100, 100))
    mammogram = read_mammogram(png(pixels, 0, (b"sBIT", b"\x0c")), "x.png")
    assert mammogram.bits == 16 and "sBIT" in mammogram.warnings[0]
    np.testing.assert_array_equal(mammogram.pixels, pixels)


def test_8_bit_pngs_keep_8_bits_whatever_their_values():
    pixels = random_picture(5).astype(np.uint8)
    mammogram = read_mammogram(png(pixels), "x.png")
    assert mammogram.bits == 8
    np.testing.assert_array_equal(mammogram.pixels, pixels)


def test_grey_in_colour_or_with_opaque_alpha_is_read_and_real_colour_or_transparency_is_not():
    grey = random_picture(8).astype(np.uint8)
    opaque = np.full_like(grey, 255)
    for kind, planes in ((2, [grey] * 3), (4, [grey, opaque]), (6, [grey, grey, grey, opaque])):
        mammogram = read_mammogram(png(np.stack(planes, -1), kind), "x.png")
        np.testing.assert_array_equal(mammogram.pixels, grey)
    assert "colour" in rejection(png(np.stack([grey, grey, grey // 2], -1), 2))
    assert "transparent" in rejection(png(np.stack([grey, grey], -1), 4))


def test_16_bit_grey_with_opaque_alpha_keeps_16_bits():
    pixels = random_picture(16)
    mammogram = read_mammogram(png(np.stack([pixels, np.full_like(pixels, 65535)], -1), 4), "x.png")
    np.testing.assert_array_equal(mammogram.pixels, pixels)


def test_pngs_that_would_lose_depth_or_meaning_are_rejected():
    pixels = random_picture(16)
    assert "16-bit colours" in rejection(png(np.stack([pixels] * 3, -1), 2))
    assert "palette" in rejection(png(pixels.astype(np.uint8), 3, (b"PLTE", bytes(768))))
    assert "4 bits" in rejection(png(pixels.astype(np.uint8), 0, depth=4))
    assert "transparent" in rejection(png(pixels, 0, (b"tRNS", b"\0\0")))


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiffs_of_8_and_16_bits_are_exact(order):
    for bits in (8, 12, 16):
        pixels = random_picture(bits)
        stored = pixels.astype(np.uint8) if bits == 8 else pixels
        out = io.BytesIO()
        image = Image.fromarray(stored)
        if order == ">" and bits != 8:
            image = Image.frombytes("I;16B", image.size, stored.astype(">u2").tobytes())
        image.save(out, "TIFF")
        mammogram = read_mammogram(out.getvalue(), "x.tif", depth=bits)
        assert mammogram.bits == bits
        np.testing.assert_array_equal(mammogram.pixels, pixels)


@pytest.mark.parametrize("bits", [8, 16])
def test_white_is_zero_tiffs_are_inverted_once(bits):
    pixels = random_picture(bits)
    stored = pixels.astype(np.uint8) if bits == 8 else pixels
    mammogram = read_mammogram(tiff(stored, photometric=0), "x.tif")
    np.testing.assert_array_equal(mammogram.pixels, 2**bits - 1 - pixels.astype(int))
    np.testing.assert_array_equal(read_mammogram(tiff(stored), "x.tif").pixels, pixels)


def test_a_white_is_zero_tiff_is_inverted_at_the_stated_depth():
    pixels = random_picture(12)
    mammogram = read_mammogram(tiff(pixels, photometric=0), "x.tif", depth=12)
    np.testing.assert_array_equal(mammogram.pixels, 4095 - pixels.astype(int))


def test_signed_float_and_many_page_tiffs_are_rejected():
    pixels = random_picture(12)
    assert "unsigned" in rejection(tiff(pixels, sample_format=2))
    assert "32" in rejection(tiff(pixels.astype(np.float32), sample_format=3))
    out = io.BytesIO()
    page = Image.fromarray(pixels)
    page.save(out, "TIFF", save_all=True, append_images=[page])
    assert "several pictures" in rejection(out.getvalue())


@pytest.mark.parametrize(
    ("maxval", "bits"), [(255, 8), (200, 8), (1023, 10), (4095, 12), (65535, 16), (1, 1)]
)
def test_pgm_of_both_kinds_has_the_depth_of_maxval(maxval, bits):
    pixels = np.random.default_rng(1).integers(0, maxval + 1, (9, 7))
    pixels.flat[:2] = 0, maxval
    if maxval == 1:
        assert "mask" in rejection(b"P5 7 9 1\n" + pixels.astype(np.uint8).tobytes())
        return
    raw = pixels.astype(">u2" if maxval > 255 else np.uint8).tobytes()
    plain = "\n".join(" ".join(map(str, row)) for row in pixels.tolist()).encode()
    for data in (
        b"P5\n# made by hand\n7 9\n%d\n" % maxval + raw,
        b"P5 7\t9 # width and height\n %d " % maxval + raw,
        b"P2\n7 9\n%d\n" % maxval + plain,
        b"P2 #c\n7 9 %d\n# in the middle\n" % maxval + plain.replace(b"\n", b" # row\n") + b"\n",
    ):
        mammogram = read_mammogram(data, "x.pgm")
        assert mammogram.bits == bits
        np.testing.assert_array_equal(mammogram.pixels, pixels)


def test_a_pixel_that_looks_like_a_space_or_comment_is_a_pixel():
    pixels = np.frombuffer(b"# \n#\t\r ab", np.uint8).reshape(3, 3)
    np.testing.assert_array_equal(read_mammogram(b"P5 3 3 255\n" + pixels.tobytes(), "x").pixels, pixels)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"P5", "header"),
        (b"P5\n3 3", "header"),
        (b"P5 3 3 0\n" + bytes(9), "0"),
        (b"P5 3 3 70000\n" + bytes(18), "70000"),
        (b"P5 0 3 255\n", "empty"),
        (b"P5 3 3 255\n12345678", "truncated"),
        (b"P5 99999 99999 255\n", "limit"),
        (b"P5 3 3 100\n" + bytes(range(95, 104)), "more than"),
        (b"P2 3 3 255\n1 2 3", "truncated"),
        (b"P2 2 2 255\n1 2 x 3", "something else"),
        (b"P2 2 2 255\n1 2 3 99999", "above"),
        (b"P2 2 2 255\n-1 2 3 4", "else"),
        (b"P2 9999 9999 255\n1 2", "truncated"),
        (b"P5 99999999999 3 255\n", "header"),
    ],
)
def test_wrong_pgms_are_rejected_with_the_reason(data, reason):
    assert reason in rejection(data)


@pytest.mark.parametrize("rows", [2, 4])
@pytest.mark.parametrize("plain", [False, True])
def test_a_pgm_that_does_not_hold_what_it_declares_is_rejected(rows, plain):
    pixels = random_picture(8, shape=(3, 5))
    body = " ".join(map(str, pixels.ravel())).encode() if plain else pixels.astype(np.uint8).tobytes()
    head = b"P2 5 %d 255\n" if plain else b"P5 5 %d 255\n"
    np.testing.assert_array_equal(read_mammogram(head % 3 + body + b"\n", "x").pixels, pixels)
    assert f"{5 * rows} declared" in (text := rejection(head % rows + body)) or "cannot hold" in text


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


def test_constant_pictures_and_masks_are_rejected():
    assert "constant" in rejection(png(np.full((9, 9), 7, np.uint16)))
    mask = np.zeros((9, 9), np.uint8)
    mask[3:5] = 255
    assert "mask" in rejection(png(mask))


def test_side_and_view_are_guessed_from_the_name_and_marked_as_guesses():
    mammogram = read_mammogram(png(random_picture(12)), "exam/patient_R_MLO.png")
    assert (mammogram.laterality, mammogram.view, mammogram.patient) == ("R", "MLO", "")
    assert "laterality guessed from the file name" in mammogram.rules
    assert "view guessed from the file name" in mammogram.rules


def test_the_real_digital_exam_has_12_bits(shared):
    for file in sorted((shared / "data" / "ffdm").glob("*.png")):
        data = file.read_bytes()
        assert raster_maximum(data) == 4095
        mammogram = read_mammogram(data, file.name, depth=12)
        assert mammogram.bits == 12 and mammogram.warnings == ()
        assert mammogram.laterality in "LR" and mammogram.view in ("CC", "MLO")


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
