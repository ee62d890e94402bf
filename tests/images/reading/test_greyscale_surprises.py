"""Headers that are allowed and lead astray: padding that is tissue, windows that leave nothing, signs that are turned round."""

import numpy as np
import pytest

from mammojax.images.mammogram import Rejected
from mammojax.images.reading.dicom import read_dicom


@pytest.fixture
def implant():
    """uint16[60, 40]: 12-bit tissue with an area of the detector's last value, a dot of it, and padding of it at the right."""
    picture = np.random.default_rng(0).integers(500, 3000, (60, 40)).astype(np.uint16)
    picture[20:40, 5:20] = picture[50, 10] = picture[:, 36:] = 4095
    return picture


@pytest.mark.parametrize("first", [False, True])
def test_an_area_of_the_paddings_value_within_the_picture_is_kept_and_said(dicom_file, implant, first):
    stored, interpretation = (4095 - implant, "MONOCHROME1") if first else (implant, "MONOCHROME2")
    value = 0 if first else 4095
    found = read_dicom(dicom_file(stored, PhotometricInterpretation=interpretation, PixelPaddingValue=value))
    assert (found.pixels[20:40, 5:20] == 4095).all()
    assert (found.pixels[:, 36:] == 0).all() and found.pixels[50, 10] == 0
    told = [w for w in found.warnings if "have the padding's value" in w]
    assert [told[0][:6], told[1][:5], told[2][:6]] == ["12.50%", "0.04%", "10.00%"]
    assert [w.rpartition(", ")[2] for w in told] == ["and are kept", "and were cleared", "and were cleared"]


def test_dark_padding_is_no_news_and_nothing_but_padding_is_said_to_be_that(dicom_file, implant):
    stored = np.where(implant == 4095, 0, implant).astype(np.uint16)
    assert read_dicom(dicom_file(stored, PixelPaddingValue=0)).warnings == ()
    with pytest.raises(Rejected, match="all pixels are padding"):
        read_dicom(dicom_file(stored, PixelPaddingValue=0, PixelPaddingRangeLimit=4095))


def test_a_window_that_leaves_few_grey_levels_apart_is_said(dicom_file, stored):
    cut = read_dicom(dicom_file(stored, WindowCenter=128, WindowWidth=256))
    assert any("window or VOI LUT leaves" in w for w in cut.warnings)
    assert read_dicom(dicom_file(stored, WindowCenter=2048, WindowWidth=2500)).warnings == ()


def test_a_picture_in_a_small_part_of_its_scale_is_said(dicom_file, stored):
    for small in (dicom_file(stored, bits=16), dicom_file(stored.astype(np.int16), bits=16)):
        assert any("uses 6.2% of its full scale" in w for w in read_dicom(small).warnings)


@pytest.mark.parametrize("relation", ["LIN", "LOG"])
def test_the_sign_of_raw_images_is_that_of_stored_values_whatever_the_rescale(dicom_file, stored, relation):
    raw = {"PresentationIntentType": "FOR PROCESSING", "PixelIntensityRelationship": relation}
    plain = read_dicom(dicom_file(stored, **raw, PixelIntensityRelationshipSign=1))
    turned = read_dicom(
        dicom_file(
            stored, **raw, PixelIntensityRelationshipSign=1, RescaleSlope="-1", RescaleIntercept="4095"
        )
    )
    # 1 - (1 - x) is x but for the last bit, which may fall to the next of 65536 values
    assert np.ptp(plain.pixels) > 0
    assert np.abs(turned.pixels.astype(int) - plain.pixels.astype(int)).max() <= 1


def test_a_presentation_lut_against_the_interpretation_is_said_and_not_believed(dicom_file, stored):
    turned = read_dicom(
        dicom_file(stored, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="IDENTITY")
    )
    assert (turned.pixels == 4095 - stored).all() and "IDENTITY contradicts MONOCHROME1" in turned.warnings[0]


def test_a_sign_that_lets_values_leap_all_over_the_picture_is_doubted(dicom_file):
    rng = np.random.default_rng(1)
    tissue = np.linspace(0, 4000, 40) + rng.normal(0, 60, (60, 40))
    unsigned = np.clip(tissue, 0, 4095).astype(np.uint16)
    around_zero = (tissue / 40 - 10).astype(np.int16)
    labelled = np.clip(tissue / 2, 0, 2000).astype(np.uint16)
    labelled[5:9, 4:9] = 4095
    for pixels, said, bits, options in (
        (unsigned, False, 12, {}),
        (unsigned, True, 12, {"PixelRepresentation": 1}),
        (around_zero, False, 16, {}),
        (around_zero, True, 16, {"PixelRepresentation": 0}),
        (labelled, False, 12, {}),
    ):
        warnings = read_dicom(dicom_file(pixels, bits=bits, **options)).warnings
        assert any("is doubtful" in w for w in warnings) == said
