"""One entry a file, from the rows of a table."""

import os
from pathlib import Path

from mammojax.datasets.labels import Dropped, facts_of
from mammojax.datasets.listing import entries, printable
from mammojax.datasets.record import Source


def row(file, word="1", patient="p", **more):
    return Source(file=file, path=Path("/data") / file, patient=patient, facts=facts_of(word), **more)


def test_files_are_numbered_by_name_whatever_the_order_of_the_rows():
    rows = [row(name) for name in ("c.png", "a.png", "b.png")]
    found = [[(e.number, e.source.file) for e in entries(order, "label")] for order in (rows, rows[::-1])]
    assert found[0] == found[1] == [(1, "a.png"), (2, "b.png"), (3, "c.png")]


def test_a_file_in_two_rows_takes_the_worst_and_says_so():
    for words in (("benign", "malignant"), ("malignant", "benign")):
        (entry,) = entries([row("a.png", w) for w in words], "label")
        assert entry.verdict == 1
        assert entry.source.warnings == ("listed in 2 rows that differ; the worst of them counts",)
    (entry,) = entries([row("a.png"), row("a.png")], "label")
    assert entry.source.warnings == ("listed in 2 rows",)


def test_rows_that_name_two_patients_or_two_sides_are_not_believed():
    (entry,) = entries([row("a.png"), row("a.png", patient="q")], "label")
    assert entry.rejected and entry.verdict == Dropped("listed in 2 rows that name different patients")
    (entry,) = entries([row("a.png", laterality="L"), row("a.png", laterality="R", view="CC")], "label")
    assert (entry.source.laterality, entry.source.view) == ("", "CC")
    assert "laterality: the rows say L and R; none is believed" in entry.source.warnings


def test_names_become_printable_and_stay_apart():
    raw = os.fsdecode(b"a\xff\n\x07.png")
    assert printable(raw) == "a\\xff\\n\\x07.png" and printable("Müller 李.png") == "Müller 李.png"
    first = row(raw)
    second = Source(file=printable(raw), path=Path("other"), patient="p", facts=facts_of("1"))
    (entry,) = entries([first, second], "label")
    assert entry.rejected and "two files have this name" in entry.verdict.reason


def test_one_patient_written_in_several_ways_is_one_and_said():
    found = entries(
        [row("a.png", patient="007"), row("b.png", patient="7.0"), row("c.png", patient="8")], "label"
    )
    assert [e.source.patient for e in found] == ["7", "7", "8"]
    said = "patient: written in 2 ways in the table, taken for one"
    assert [said in e.source.warnings for e in found] == [True, True, False]
    (entry,) = entries([row("a.png", patient="007"), row("a.png", patient="7")], "label")
    assert not entry.rejected
