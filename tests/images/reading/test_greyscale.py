"""The greyscale pipeline against the standard's formulas (PS3.3 C.11), applied to every pixel in float64."""

import math

import numpy as np
import pytest
from pydicom import uid

from mammojax.images.mammogram import Rejected
from mammojax.images.reading.dicom import read_dicom


def windowed(x, centre, width, function="LINEAR"):
    """C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2 with an output range of [0, 1], one pixel at a time."""
    out = np.empty(x.shape)
    for i, v in enumerate(x.ravel().tolist()):
        if function == "LINEAR":
            if v <= centre - 0.5 - (width - 1) / 2:
                y = 0.0
            elif v > centre - 0.5 + (width - 1) / 2:
                y = 1.0
            else:
                y = (v - (centre - 0.5)) / (width - 1) + 0.5
        elif function == "LINEAR_EXACT":
            if v <= centre - width / 2:
                y = 0.0
            elif v > centre + width / 2:
                y = 1.0
            else:
                y = (v - centre) / width + 0.5
        else:
            y = 1 / (1 + math.exp(min(-4 * (v - centre) / width, 700)))  # exp(710) overflows
        out.flat[i] = y
    return out


def close(mammogram, share):
    """Within one step of the display scale: the reference rounds at another place of the formula."""
    return np.abs(mammogram.pixels - share * (2**mammogram.bits - 1)).max() <= 1


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_without_voi_the_stored_values_come_out_at_the_depth_of_bits_stored(dicom_file, bits):
    pixels = (
        np.random.default_rng(bits)
        .integers(0, 2**bits, (20, 30))
        .astype(np.uint8 if bits == 8 else np.uint16)
    )
    mammogram = read_dicom(dicom_file(pixels, bits=bits))
    assert mammogram.bits == bits
    assert mammogram.pixels.dtype == np.uint16
    np.testing.assert_array_equal(mammogram.pixels, pixels)


def test_bits_above_bits_stored_are_ignored(dicom_file, stored):
    np.testing.assert_array_equal(read_dicom(dicom_file(stored | 0xA000)).pixels, stored)


def test_a_high_bit_above_bits_stored_shifts_the_values_down(dicom_file, stored):
    np.testing.assert_array_equal(
        read_dicom(dicom_file((stored << 4).astype(np.uint16), HighBit=15)).pixels, stored
    )


def test_signed_values_are_sign_extended_and_start_at_zero(dicom_file, stored):
    signed = stored.astype(np.int16) - 2048
    for written in (
        signed,
        (signed & 0x0FFF).astype(np.int16),
    ):  # with and without the sign in the unused bits
        np.testing.assert_array_equal(read_dicom(dicom_file(written)).pixels, stored)


def test_a_rescale_alone_keeps_order_and_depth(dicom_file, stored):
    mammogram = read_dicom(dicom_file(stored, RescaleSlope="0.25", RescaleIntercept="-1000"))
    np.testing.assert_array_equal(mammogram.pixels, stored)
    mammogram = read_dicom(dicom_file(stored, RescaleSlope="-2", RescaleIntercept="10"))
    np.testing.assert_array_equal(mammogram.pixels, 4095 - stored.astype(int))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (1500.5, 700), (100, 2), (0, 8000), (4000, 1)])
def test_windows_follow_the_standard(dicom_file, stored, function, centre, width):
    file = dicom_file(stored, WindowCenter=centre, WindowWidth=width, VOILUTFunction=function)
    mammogram = read_dicom(file)
    assert mammogram.bits == 16
    assert close(mammogram, windowed(stored.astype(float), centre, width, function))
    assert any(rule.startswith(f"window {centre:g}/{width:g} {function}") for rule in mammogram.rules)


def test_a_window_acts_on_rescaled_values(dicom_file, stored):
    mammogram = read_dicom(
        dicom_file(stored, RescaleSlope="2", RescaleIntercept="-500", WindowCenter=1000, WindowWidth=3000)
    )
    assert close(mammogram, windowed(stored * 2.0 - 500, 1000, 3000))


def test_cmmd_like_sigmoid_maps_bytes_to_30_to_224(dicom_file):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    mammogram = read_dicom(
        dicom_file(ramp, bits=8, WindowCenter=128, WindowWidth=256, VOILUTFunction="SIGMOID")
    )
    as_bytes = mammogram.pixels.ravel() / 65535 * 255
    assert round(as_bytes[0]) == 30 and round(as_bytes[-1]) == 224
    assert (np.diff(mammogram.pixels.ravel().astype(int)) > 0).all()  # 8 bits would merge levels


def test_the_first_of_several_windows_is_applied_and_told(dicom_file, stored):
    mammogram = read_dicom(dicom_file(stored, WindowCenter=[1000, 3000], WindowWidth=[500, 600]))
    assert close(mammogram, windowed(stored.astype(float), 1000, 500))
    assert "window 1000/500 LINEAR (first of 2)" in mammogram.rules


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": 2000, "WindowWidth": 0},
        {"WindowCenter": 2000, "WindowWidth": 0.5},
        {"WindowCenter": 2000, "WindowWidth": -5, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": 2000, "WindowWidth": 100, "VOILUTFunction": "CUBIC"},
        {"WindowCenter": 2000},
    ],
)
def test_a_window_that_the_standard_forbids_is_left_out_with_a_warning(dicom_file, stored, elements):
    mammogram = read_dicom(dicom_file(stored, **elements))
    np.testing.assert_array_equal(mammogram.pixels, stored)
    assert len(mammogram.warnings) == 1 and "not applied" in mammogram.warnings[0]


@pytest.mark.parametrize(
    ("first", "count", "bits"), [(0, 4096, 14), (1000, 500, 10), (0, 4096, 8), (300, 65536, 16)]
)
def test_a_voi_lut_comes_before_the_window_and_keeps_its_depth(dicom_file, lut, stored, first, count, bits):
    entries = np.sort(np.random.default_rng(1).integers(0, 2**bits, count))
    file = dicom_file(
        stored, VOILUTSequence=[lut(entries, first, bits), lut([0, 1], 0, 8)], WindowCenter=5, WindowWidth=9
    )
    mammogram = read_dicom(file)
    assert mammogram.bits == bits
    assert f"VOI LUT of {bits} bits (first of 2)" in mammogram.rules
    expected = [entries[min(max(v - first, 0), count - 1)] for v in stored.ravel().tolist()]
    np.testing.assert_array_equal(mammogram.pixels.ravel(), expected)


def test_a_voi_lut_with_a_negative_first_value_acts_on_signed_values(dicom_file, lut, stored):
    signed = stored.astype(np.int16) - 2048
    entries = np.arange(4096) * 4
    mammogram = read_dicom(dicom_file(signed, VOILUTSequence=[lut(entries, -2048, 14)]))
    np.testing.assert_array_equal(mammogram.pixels, (signed.astype(int) + 2048) * 4)


def test_a_voi_lut_whose_entries_exceed_its_depth_keeps_them_with_a_warning(dicom_file, lut, stored):
    mammogram = read_dicom(dicom_file(stored, VOILUTSequence=[lut(np.arange(4096), 0, 10)]))
    np.testing.assert_array_equal(mammogram.pixels, stored)
    assert mammogram.bits == 12 and "declares 10 bits" in mammogram.warnings[0]


@pytest.mark.parametrize(("top", "bits"), [(4095, 12), (1023, 10), (16383, 14), (65535, 16), (40000, 16)])
def test_a_lut_that_declares_16_bits_and_ends_below_has_the_depth_of_its_end(
    dicom_file, lut, stored, top, bits
):
    entries = np.rint(np.linspace(0, top, 4096)).astype(int)
    for name in ("VOILUTSequence", "ModalityLUTSequence"):
        mammogram = read_dicom(dicom_file(stored, **{name: [lut(entries, 0, 16)]}))
        np.testing.assert_array_equal(mammogram.pixels, entries[stored])
        assert mammogram.bits == bits
        assert [f"declares 16 bits but ends at {top}" in w for w in mammogram.warnings] == [True] * (
            bits < 16
        )


def test_a_voi_lut_in_a_big_endian_file_is_read_in_its_byte_order(dicom_file, lut, stored):
    item = lut(np.arange(4096) * 2, 0, 13)
    item.LUTData = (np.arange(4096) * 2).astype(">u2").tobytes()
    file = dicom_file(stored, syntax=uid.ExplicitVRBigEndian, VOILUTSequence=[item])
    np.testing.assert_array_equal(read_dicom(file).pixels, stored.astype(int) * 2)


def test_a_short_voi_lut_is_a_rejection(dicom_file, lut, stored):
    item = lut(np.arange(4096), 0, 12)
    item.LUTData = item.LUTData[:1000]
    with pytest.raises(Rejected, match="500 entries, 4096 are declared"):
        read_dicom(dicom_file(stored, VOILUTSequence=[item]))


def test_a_modality_lut_sets_range_and_depth(dicom_file, lut, stored):
    entries = np.random.default_rng(2).integers(0, 1024, 4096)
    mammogram = read_dicom(dicom_file(stored, ModalityLUTSequence=[lut(entries, 0, 10)]))
    assert mammogram.bits == 10
    np.testing.assert_array_equal(mammogram.pixels, entries[stored])


def test_monochrome1_is_inverted_last_and_once(dicom_file, lut, stored):
    plain = read_dicom(dicom_file(stored, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(plain.pixels, 4095 - stored.astype(int))
    assert plain.rules[-1] == "inverted MONOCHROME1"
    mammogram = read_dicom(
        dicom_file(
            stored,
            PhotometricInterpretation="MONOCHROME1",
            PresentationLUTShape="INVERSE",
            WindowCenter=1000,
            WindowWidth=600,
        )
    )
    assert close(mammogram, 1 - windowed(stored.astype(float), 1000, 600))
    entries = np.arange(4096) // 2
    mammogram = read_dicom(
        dicom_file(stored, PhotometricInterpretation="MONOCHROME1", VOILUTSequence=[lut(entries, 0, 11)])
    )
    np.testing.assert_array_equal(mammogram.pixels, 2047 - stored.astype(int) // 2)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_found_on_stored_values_and_becomes_background(dicom_file, stored, photometric):
    mammogram = read_dicom(
        dicom_file(
            stored,
            PhotometricInterpretation=photometric,
            RescaleSlope="1",
            RescaleIntercept="500",
            PixelPaddingValue=3000,
            PixelPaddingRangeLimit=3500,
            WindowCenter=2500,
            WindowWidth=5000,
        )
    )
    share = windowed(stored + 500.0, 2500, 5000)
    share = 1 - share if photometric == "MONOCHROME1" else share
    assert close(mammogram, np.where((stored >= 3000) & (stored <= 3500), 0, share))
    assert "padding to 0" in mammogram.rules


def test_a_padding_range_may_be_written_downwards(dicom_file, stored):
    mammogram = read_dicom(dicom_file(stored, PixelPaddingValue=3500, PixelPaddingRangeLimit=3000))
    np.testing.assert_array_equal(mammogram.pixels, np.where((stored >= 3000) & (stored <= 3500), 0, stored))


def test_a_negative_padding_value_acts_on_signed_values(dicom_file, stored):
    signed = stored.astype(np.int16) - 2048
    signed[:5] = -2000
    mammogram = read_dicom(dicom_file(signed, PixelPaddingValue=-2000))
    np.testing.assert_array_equal(mammogram.pixels, np.where(signed == -2000, 0, signed.astype(int) + 2048))


def test_padding_beyond_bits_stored_spares_the_value_that_it_would_be_cut_to(dicom_file, stored):
    written = stored.copy()
    written[:5] = 65535  # masked to 12 bits this would be 4095, a real value elsewhere in the picture
    written[6, 6] = 4095
    mammogram = read_dicom(dicom_file(written, PixelPaddingValue=65535))
    assert (mammogram.pixels[:5] == 0).all() and mammogram.pixels[6, 6] == 4095
    np.testing.assert_array_equal(mammogram.pixels[5:], written[5:])
    assert any("PixelPaddingValue" in w for w in mammogram.warnings)


@pytest.mark.parametrize(
    ("sign", "photometric"), [(1, "MONOCHROME1"), (1, "MONOCHROME2"), (-1, "MONOCHROME2")]
)
def test_raw_linear_images_become_log_exposure_dense_bright(dicom_file, stored, sign, photometric):
    mammogram = read_dicom(
        dicom_file(
            stored,
            PresentationIntentType="FOR PROCESSING",
            PixelIntensityRelationship="LIN",
            PixelIntensityRelationshipSign=sign,
            PhotometricInterpretation=photometric,
            WindowCenter=9,
            WindowWidth=5,
        )
    )
    exposure = stored.astype(float) if sign > 0 else 4095.0 - stored
    assert mammogram.bits == 16
    assert close(mammogram, 1 - np.log(1 + exposure) / np.log(4096))
    assert any(rule.startswith("for processing") for rule in mammogram.rules)


def test_raw_logarithmic_images_are_turned_by_their_sign_only(dicom_file, stored):
    elements = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2.1",
        "PresentationIntentType": None,
        "PixelIntensityRelationship": "LOG",
        "PhotometricInterpretation": "MONOCHROME1",
    }
    mammogram = read_dicom(dicom_file(stored, PixelIntensityRelationshipSign=1, **elements))
    assert close(mammogram, 1 - stored / 4095)
    mammogram = read_dicom(dicom_file(stored, PixelIntensityRelationshipSign=-1, **elements))
    assert close(mammogram, stored / 4095)


def test_raw_images_that_do_not_tell_their_scale_are_read_with_warnings(dicom_file, stored):
    mammogram = read_dicom(
        dicom_file(stored, PresentationIntentType="FOR PROCESSING", PhotometricInterpretation="MONOCHROME1")
    )
    assert close(mammogram, 1 - np.log(1.0 + stored) / np.log(4096))
    assert len(mammogram.warnings) == 2


def test_raw_images_are_refused_on_demand(dicom_file, stored):
    with pytest.raises(Rejected, match="for processing"):
        read_dicom(dicom_file(stored, PresentationIntentType="FOR PROCESSING"), for_processing="refuse")


@pytest.mark.parametrize(
    "elements",
    [
        {"RescaleSlope": "0"},
        {"RescaleSlope": "1e-30", "RescaleIntercept": "1e9"},
        {"BitsStored": 0, "HighBit": 0},
        {"BitsStored": 12, "HighBit": 16},
        {"BitsStored": 17, "HighBit": 16},
        {"BitsAllocated": 12},
    ],
)
def test_impossible_numbers_are_rejections(dicom_file, stored, elements):
    with pytest.raises(Rejected):
        read_dicom(dicom_file(stored, **elements))
