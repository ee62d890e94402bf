"""Words of side and view as they stand in real file names and descriptions."""

import pytest

from mammojax.images.views import (
    believed,
    from_file_name,
    from_patient_orientation,
    from_words,
    side_of,
    unusable_kind,
)


@pytest.mark.parametrize(
    ("text", "side", "view"),
    [
        ("exam0_L-CC", "L", "CC"),
        ("A_1234_1.LEFT_MLO", "L", "MLO"),
        ("20586908_x_MG_R_CC_ANON", "R", "CC"),
        ("RMLO", "R", "MLO"),
        ("LXCCL", "L", "XCCL"),
        ("LMO", "", "LMO"),
        ("LLMO", "L", "LMO"),
        ("rt mlo", "R", "MLO"),
        ("LEFT and RIGHT CC", "", "CC"),
        ("CC or MLO", "", ""),
        ("mdb001", "", ""),
        ("mama izquierda CC", "L", "CC"),
        ("sein_droit_MLO", "R", "MLO"),
        ("Brust links, CC", "L", "CC"),
        ("rechts", "R", ""),
        ("SINISTRA-MLO", "L", "MLO"),
        ("destra", "R", ""),
        ("højre CC", "R", "CC"),
        ("vänster", "L", ""),
        ("левая CC", "L", "CC"),
        ("右 MLO", "R", "MLO"),
        ("DX sin contraste der Brust CC", "", "CC"),
        ("calcification", "", ""),
        ("CLL RCCA", "", ""),
        ("", "", ""),
    ],
)
def test_words_tell_side_and_view_or_nothing(text, side, view):
    assert from_words(text) == (side, view)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("exams/L_CC/a.png", ("", "")),
        ("x/R-MLO.png", ("R", "MLO")),
        ("x\\R-CC.dcm", ("R", "CC")),
        ("1.2.840.R.CC", ("R", "")),
        ("2_MG_L_ML_ANON.dcm", ("L", "MLO")),
        ("L_ML.dcm", ("L", "ML")),
    ],
)
def test_only_the_last_part_of_a_path_counts(name, found):
    assert from_file_name(name) == found


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["A", "R"], ("L", "CC")),
        (["A", "FR"], ("L", "MLO")),
        (["P", "L"], ("R", "CC")),
        (["P", "FL"], ("R", "MLO")),
        (["CC"], ("", "CC")),
        (["MLO"], ("", "MLO")),
        ([], ("", "")),
        (["H", "F", "L"], ("", "")),
        (["", ""], ("", "")),
    ],
)
def test_patient_orientation_tells_side_and_view_of_standard_views(values, found):
    assert from_patient_orientation(values) == found


def test_the_first_claim_that_says_something_is_believed():
    assert believed("view", [("a", ""), ("b", "CC"), ("c", "CC")]) == ("CC", "b", [])
    assert believed("view", [("a", "")]) == ("", "", [])


@pytest.mark.parametrize(
    ("field", "side"),
    [
        *(("L", "L"), ("r ", "R"), ("Izquierda", "L"), ("droite", "R"), ("D", "R"), ("I", "L"), ("Dx", "R")),
        *(
            ("LEFT BREAST", "L"),
            ("RIGHT MLO", "R"),
            ("B", ""),
            ("U", ""),
            ("bilateral", ""),
            ("L/R", ""),
            ("", ""),
        ),
    ],
)
def test_a_field_of_laterality_is_a_side_or_nothing_never_its_first_letter(field, side):
    assert side_of(field) == side


def test_a_plain_view_beside_a_tomosynthesis_is_no_tomosynthesis():
    assert unusable_kind("L CC Tomo Projection") == "tomosynthesis"
    assert unusable_kind("L CC 2D (TOMO combo)") == ""
    assert unusable_kind("L CC 2D MAG") == "magnification"


def test_numbers_of_exposures_and_second_suffixes_do_not_hide_side_and_view():
    assert from_file_name("case7_LCC2.png") == ("L", "CC") and from_words("RMLO1") == ("R", "MLO")
    assert from_file_name("20586908_6c613a14b80a8591_mg_r_ml_anon.dcm.png") == ("R", "MLO")
