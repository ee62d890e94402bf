"""Words that stand for nobody."""

import pytest

from mammojax.datasets.patients import identity, is_placeholder, placeholders, shortened

NOBODY = ["", "  ", "removed", "nan", "NaN", "unknown", "UNKNOWN", "N/A", "n.a.", "anonymous", "Anonymous^Patient",
          "ANONYMIZED", "empty", "None", "null", "0", "0000", "00-00", "-", "---", "-1", "-9999.0", "?", "xxx", "deleted", "No Name"]  # fmt: skip


@pytest.mark.parametrize("word", NOBODY)
def test_placeholders_are_nobody(word):
    assert is_placeholder(word)


@pytest.mark.parametrize(
    "word", ["P0001", "7", "10", "mias-001", "6c613a14b80a8591", "Anonymous 17", "anon_0042", "Nan Li", "李"]
)
def test_identifiers_are_somebody(word):
    assert not is_placeholder(word)


def test_a_0_is_a_patient_only_where_patients_are_counted_from_0():
    assert placeholders(["0", "1", "2"]) == []
    assert placeholders(["0", "7", "9"]) == [0]
    assert placeholders(["P1", "0", "1"]) == [1]
    assert placeholders(["0", "1", "00"]) == [2]


@pytest.mark.parametrize(
    "ways",
    [["12345", "12345.0", "12345,0", "012345", " 12345 "], ["P1", "p1", "P1\u00a0", "\ufeffp1"], ["Jo\u0308rg", "J\u00f6rg"], ["0", "000"]],
)  # fmt: skip
def test_ways_to_write_one_identifier_are_one(ways):
    assert len({identity(way) for way in ways}) == 1


def test_other_identifiers_stay_apart():
    others = ["P1", "P01", "P10", "1.1", "1.10", "10", "1e5", "A 1", "A1"]
    assert len({identity(other) for other in others}) == len(others)


def test_numbers_that_a_spreadsheet_shortened_are_found():
    assert shortened(["1.23457E+11", "12", "1,2e+05", "1e5", "P1E+3"]) == [0, 2]
