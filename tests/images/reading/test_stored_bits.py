"""BitsStored and HighBit held against the pixels: what is in the file is what comes out, or a warning tells."""

import io

import numpy as np
import pydicom
import pytest

from mammojax.images.reading.dicom import read_dicom


def picture(bits, seed=0):
    """uint16[40, 30]: all of the range in use, so that every bit varies."""
    pixels = np.random.default_rng(seed).integers(0, 2**bits, (40, 30))
    pixels.flat[:2] = 0, 2**bits - 1
    return pixels.astype(np.uint16)


def with_overlays(file: bytes, positions, *, data: bytes = b"") -> bytes:
    """The file with an overlay plane in each of these bits, or with data of their own."""
    header = pydicom.dcmread(io.BytesIO(file))
    for k, position in enumerate(positions):
        group = 0x6000 + 2 * k
        header.add_new((group, 0x0010), "US", header.Rows)
        header.add_new((group, 0x0011), "US", header.Columns)
        header.add_new((group, 0x0040), "CS", "G")
        header.add_new((group, 0x0100), "US", 1 if data else 16)
        header.add_new((group, 0x0102), "US", position)
        if data:
            header.add_new((group, 0x3000), "OW", data)
    out = io.BytesIO()
    pydicom.dcmwrite(out, header, enforce_file_format=True)
    return out.getvalue()


@pytest.mark.parametrize(
    ("stored", "real", "taken"), [(12, 14, 14), (12, 13, 14), (10, 12, 12), (12, 16, 16)]
)
def test_pixels_deeper_than_bits_stored_do_not_wrap(dicom_file, stored, real, taken):
    pixels = picture(real)
    mammogram = read_dicom(dicom_file(pixels, bits=stored))
    np.testing.assert_array_equal(mammogram.pixels, pixels)
    assert mammogram.bits == taken
    (warning,) = mammogram.warnings
    assert f"BitsStored {stored}" in warning and f"values of {taken} bits are taken" in warning


def test_an_8_bit_file_that_says_fewer_is_read_whole(dicom_file):
    pixels = picture(8).astype(np.uint8)
    mammogram = read_dicom(dicom_file(pixels, bits=6))
    np.testing.assert_array_equal(mammogram.pixels, pixels)
    assert mammogram.bits == 8


@pytest.mark.parametrize(("stored", "high"), [(12, 15), (12, 13), (16, 11), (13, 11), (12, 0), (12, 3)])
def test_a_high_bit_that_contradicts_the_pixels_cuts_none_of_them(dicom_file, stored, high):
    pixels = picture(12)
    mammogram = read_dicom(dicom_file(pixels, bits=stored, HighBit=high))
    np.testing.assert_array_equal(mammogram.pixels, pixels)
    assert mammogram.bits == 12
    assert len(mammogram.warnings) == 1 and f"HighBit {high}" in mammogram.warnings[0]


def test_a_high_bit_that_the_pixels_bear_out_is_believed_and_told(dicom_file):
    pixels = picture(12)
    mammogram = read_dicom(dicom_file((pixels << 4).astype(np.uint16), HighBit=15))
    np.testing.assert_array_equal(mammogram.pixels, pixels)
    assert mammogram.warnings == ("HighBit 15 with BitsStored 12: values are bits 4 to 15",)


def test_overlay_planes_in_unused_bits_are_no_part_of_a_value(dicom_file):
    pixels = picture(12)
    written = pixels | (picture(1, seed=1) << 12) | (picture(1, seed=2) << 15)
    data = dicom_file(written.astype(np.uint16))
    assert read_dicom(data).bits == 16  # nothing declares them: the header could be wrong
    mammogram = read_dicom(with_overlays(data, (12, 15)))
    np.testing.assert_array_equal(mammogram.pixels, pixels)
    assert mammogram.bits == 12 and mammogram.warnings == ()


def test_an_overlay_does_not_hide_that_the_rest_is_too_deep(dicom_file):
    pixels = picture(14)
    written = (pixels | (picture(1, seed=1) << 15)).astype(np.uint16)
    mammogram = read_dicom(with_overlays(dicom_file(written), (15,)))
    np.testing.assert_array_equal(mammogram.pixels, pixels)
    assert mammogram.bits == 14


def test_an_overlay_with_data_of_its_own_says_nothing_of_the_pixels(dicom_file):
    pixels = picture(14)
    data = with_overlays(dicom_file(pixels), (12, 13), data=bytes(40 * 30 // 8))
    np.testing.assert_array_equal(read_dicom(data).pixels, pixels)


@pytest.mark.parametrize(("high", "taken"), [(11, 14), (15, 16)])
def test_signed_values_deeper_than_bits_stored_do_not_wrap(dicom_file, high, taken):
    signed = picture(14).astype(np.int16) - 8192
    mammogram = read_dicom(dicom_file(signed, bits=12, HighBit=high))
    np.testing.assert_array_equal(mammogram.pixels, signed.astype(int) + 2 ** (taken - 1))
    assert mammogram.bits == taken and f"signed values of {taken} bits" in mammogram.warnings[0]


def test_signed_pixels_from_0_to_4095_with_the_sign_at_bit_15_keep_their_order(dicom_file):
    pixels = picture(12).astype(np.int16)
    mammogram = read_dicom(dicom_file(pixels, bits=12, HighBit=15))
    np.testing.assert_array_equal(mammogram.pixels, pixels)
    assert mammogram.bits == 12 and len(mammogram.warnings) == 1


def test_padding_above_bits_stored_does_not_make_the_header_wrong(dicom_file):
    for pixels, value in (
        (picture(12), 65535),
        (picture(12), 8192),
        (picture(12).astype(np.int16) - 2048, -32768),
    ):
        written = pixels.copy()
        written[:5] = np.array(value).astype(written.dtype)
        mammogram = read_dicom(dicom_file(written, PixelPaddingValue=value))
        assert mammogram.bits == 12 and (mammogram.pixels[:5] == 0).all()
        np.testing.assert_array_equal(
            mammogram.pixels[5:], pixels[5:].astype(int) - min(0, -2048 * (value < 0))
        )
