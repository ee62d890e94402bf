"""Label schemes: what counts as positive, and what is left out with which reason."""

import csv

import pytest

from mammojax.datasets.labels import Dropped, Facts, chosen_scheme, facts_of, label, numbered_classes, worst
from mammojax.datasets.table import read_table
from mammojax.errors import UserError


@pytest.mark.parametrize(
    "birads, expected",
    [("1", 0), ("2", 0), ("4a", 1), ("4b", 1), ("4c", 1), ("5", 1), ("6", 1), ("2.0", 0), ("BI-RADS 5", 1)],
)
def test_birads_4_and_above_is_positive_and_2_and_below_negative(birads, expected):
    assert label(Facts(birads=birads), "birads_4_vs_2") == expected


def test_birads_3_is_dropped_by_the_papers_scheme_and_negative_by_name():
    assert label(Facts(birads="3"), "birads_4_vs_2") == Dropped("BI-RADS 3")
    assert label(Facts(birads="3"), "birads_4_vs_3") == 0


@pytest.mark.parametrize("text", ["0", "0.0", "", None, "x", "40", "7"])
def test_an_incomplete_or_unreadable_assessment_is_neither_class(text):
    assert isinstance(label(Facts(birads=text), "birads_4_vs_2"), Dropped)
    assert isinstance(label(Facts(birads=text), "birads_4_vs_3"), Dropped)


def test_a_scheme_that_is_not_offered_is_refused_with_those_that_are():
    with pytest.raises(UserError, match="birads_4_vs_2.*abnormal, malignant"):
        chosen_scheme("birads_4_vs_2", ("abnormal", "malignant"))
    assert chosen_scheme("", ("abnormal", "malignant")) == "abnormal"


MEANING = {  # word: malignant, abnormal, label; None where the word does not tell
    "MALIGNANT": (1, 1, 1), "M": (1, 1, 1), "Cancer": (1, 1, 1), "maligno": (1, 1, 1),
    "BENIGN": (0, 1, 0), "B": (0, 1, 0), "BENIGN_WITHOUT_CALLBACK": (0, 1, 0), "benign without callback": (0, 1, 0),
    "Normal": (0, 0, 0), "NORM": (0, 0, 0), "no finding": (0, 0, 0),
    "abnormal": (None, 1, 1),
    "1": (1, 1, 1), "1.00": (1, 1, 1), "yes": (1, 1, 1), "True": (1, 1, 1), "positive": (1, 1, 1),
    "0": (0, 0, 0), "0.0": (0, 0, 0), "No": (0, 0, 0), "negative": (0, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("word", MEANING)
def test_a_word_has_its_meaning_under_each_scheme(word):
    for scheme, expected in zip(("malignant", "abnormal", "label"), MEANING[word]):
        found = label(facts_of(word), scheme)
        if expected is None:
            assert isinstance(found, Dropped) and repr(word) in found.reason
        else:
            assert found == expected, scheme


@pytest.mark.parametrize("word", ["2", "maybe", "4a", "10", "-1", "0.5"])
def test_the_reason_names_a_word_that_is_not_understood(word):
    for scheme in ("malignant", "abnormal", "label"):
        assert repr(word) in label(facts_of(word), scheme).reason
    hinted = "BI-RADS" in label(facts_of(word), "label").reason
    assert hinted == (word in ("2", "4a"))


def test_a_giant_word_is_shortened_and_a_missing_one_is_called_missing():
    assert len(label(facts_of("x" * 9999), "label").reason) < 100
    assert label(facts_of(""), "label") == Dropped("no value for label")
    assert label(Facts(birads="IV"), "birads_4_vs_2") == Dropped("BI-RADS 'IV' is not understood")


@pytest.mark.parametrize(
    "words, expected",
    [
        (("BENIGN", "MALIGNANT"), 1),
        (("MALIGNANT", "what"), 1),
        (("normal", "BENIGN"), 0),
        (("BENIGN", ""), 0),
        (("BENIGN", "what"), Dropped("'what' is not understood as a label")),
    ],
)
def test_of_several_rows_the_worst_counts_and_what_is_not_understood_may_be_worse(words, expected):
    assert label(worst([facts_of(w) for w in words]), "malignant") == expected
    assert label(worst([facts_of(w) for w in reversed(words)]), "malignant") == expected


@pytest.mark.parametrize(
    "grades, expected",
    [
        (("2", "5"), 1),
        (("2", "3"), Dropped("BI-RADS 3")),
        (("0", "2"), 0),
        (("2", ""), 0),
        (("x", "4"), 1),
        (("x", "2"), Dropped("BI-RADS 'x' is not understood")),
    ],
)
def test_of_several_grades_the_largest_counts(grades, expected):
    for order in (grades, grades[::-1]):
        assert label(worst([facts_of("", g) for g in order]), "birads_4_vs_2") == expected


def test_the_findings_of_the_published_tables_give_the_published_counts_of_images(shared):
    # 1,347 of 3,032 images with a malignant finding; by largest assessment 2,049, 342 and 641 (datasets.md)
    images = {}
    for path in sorted((shared / "data/labels").glob("*_case_description_*.csv")):
        table = read_table(path)
        density = next(c for c in table.columns if "density" in c)
        assert density in table.columns
        for row in table.rows:
            v = row.values
            key = v["patient_id"], v["left or right breast"], v["image view"]
            images.setdefault(key, []).append(facts_of(v["pathology"], v["assessment"]))
    facts = [worst(rows) for rows in images.values()]
    malignant = [label(f, "malignant") for f in facts]
    assert (len(malignant), malignant.count(1), malignant.count(0)) == (3032, 1347, 3032 - 1347)
    grades = [label(f, "birads_4_vs_2") for f in facts]
    assert (grades.count(1), grades.count(0)) == (2049, 342)


def test_the_papers_scheme_gives_the_published_counts_on_the_inbreast_table(shared):
    # 100 positive, 287 negative, 23 dropped: counted from the table by hand (BI-RADS 4a to 6, 1 and 2, 3)
    with (shared / "data/labels/INbreast.csv").open(encoding="latin-1", newline="") as file:
        grades = [row["Bi-Rads"] for row in csv.DictReader(file, delimiter=";")]
    verdicts = [label(Facts(birads=g), "birads_4_vs_2") for g in grades]
    assert (verdicts.count(1), verdicts.count(0), verdicts.count(Dropped("BI-RADS 3"))) == (100, 287, 23)


def test_decimal_commas_are_decimals():
    assert [label(facts_of(word), "label") for word in ("1,0", "0,00")] == [1, 0]
    assert [label(Facts(birads=grade), "birads_4_vs_2") for grade in ("4,0", "2,0")] == [1, 0]


def test_what_is_not_understood_is_no_unlabelled_breast():
    assert label(facts_of("unlabelled breast"), "unlabelled_negative") == 0
    for word in ("Malignent", ""):
        assert isinstance(label(facts_of(word), "unlabelled_negative"), Dropped)


def test_labels_that_count_classes_are_asked_about():
    def said(*words):
        return numbered_classes([facts_of(word) for word in words])

    assert "for 2 pictures" in said("0", "1", "2", "3.0")
    assert not said("0", "1", "1.0", "maybe") and not said("2", "3") and not said("benign", "malignant")
