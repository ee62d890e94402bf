"""PNG, TIFF and PGM: the depth by what the file says or holds, never by its container."""

import io

import numpy as np
import pytest
from PIL import Image

from mammojax.images.mammogram import usual_depth
from mammojax.images.reading.any_file import read_mammogram
from mammojax.images.reading.raster import raster_maximum
from tests.images.reading.rasters import png, random_picture, rejection, tiff


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
        png(np.where(pixels > 500, 65535, 0).astype(np.uint16)),  # a mask, which is no mammogram
        png(np.full_like(pixels, 65535)),
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
