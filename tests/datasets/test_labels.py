"""Label schemes: what counts as positive, and what is left out with which reason."""

import csv

import pytest

from mammojax.datasets.labels import SCHEMES, Dropped, Facts, label
from mammojax.errors import UserError


@pytest.mark.parametrize(
    "birads, expected",
    [("1", 0), ("2", 0), ("4a", 1), ("4b", 1), ("4c", 1), ("5", 1), ("6", 1), ("2.0", 0), ("BI-RADS 5", 1)],
)
def test_birads_4_and_above_is_positive_and_2_and_below_negative(birads, expected):
    assert label(Facts(birads=birads), "birads_4_vs_2", tuple(SCHEMES)) == expected


def test_birads_3_is_dropped_by_the_papers_scheme_and_negative_by_name():
    assert label(Facts(birads="3"), "birads_4_vs_2", tuple(SCHEMES)) == Dropped("BI-RADS 3")
    assert label(Facts(birads="3"), "birads_4_vs_3", tuple(SCHEMES)) == 0


@pytest.mark.parametrize("text", ["0", "0.0", "", None, "x", "40", "7"])
def test_an_incomplete_or_unreadable_assessment_is_neither_class(text):
    assert isinstance(label(Facts(birads=text), "birads_4_vs_2", tuple(SCHEMES)), Dropped)
    assert isinstance(label(Facts(birads=text), "birads_4_vs_3", tuple(SCHEMES)), Dropped)


def test_a_scheme_that_is_not_offered_is_refused_with_those_that_are():
    with pytest.raises(UserError, match="birads_4_vs_2.*abnormal, malignant"):
        label(Facts(malignant=True), "birads_4_vs_2", ("abnormal", "malignant"))


def test_the_papers_scheme_gives_the_published_counts_on_the_inbreast_table(shared):
    # 100 positive, 287 negative, 23 dropped: counted from the table by hand (BI-RADS 4a to 6, 1 and 2, 3)
    with (shared / "data/labels/INbreast.csv").open(encoding="latin-1", newline="") as file:
        grades = [row["Bi-Rads"] for row in csv.DictReader(file, delimiter=";")]
    verdicts = [label(Facts(birads=g), "birads_4_vs_2", tuple(SCHEMES)) for g in grades]
    assert (verdicts.count(1), verdicts.count(0), verdicts.count(Dropped("BI-RADS 3"))) == (100, 287, 23)
