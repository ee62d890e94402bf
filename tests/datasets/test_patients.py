"""Words that stand for nobody."""

import pytest

from mammojax.datasets.patients import is_placeholder, placeholders

NOBODY = ["", "  ", "removed", "nan", "NaN", "unknown", "UNKNOWN", "N/A", "n.a.", "anonymous", "Anonymous^Patient",
          "ANONYMIZED", "empty", "None", "null", "0", "0000", "00-00", "-", "---", "?", "xxx", "deleted", "No Name"]  # fmt: skip


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
