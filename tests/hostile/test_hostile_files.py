"""Damaged and malicious files: each is read, or rejected with one line; a part of what launch.fuzz does."""

import numpy as np
import pytest

from mammojax.hostile import trial
from mammojax.hostile.damage import DAMAGES
from mammojax.hostile.whole import IDENTIFIER, MADE, WHOLE, dicom, picture
from mammojax.images.mammogram import Rejected

SLOW = ("bomb.png", "deflated bomb.dcm", "bomb.xlsx")  # seconds each: left to the launcher


@pytest.fixture
def judged(monkeypatch):
    """`trial.judged` in this process: no alarm, which would end the tests, and none of their memory counted."""
    monkeypatch.setattr(trial.signal, "alarm", lambda seconds: None)
    monkeypatch.setattr(trial.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(trial, "MEGABYTES", 1 << 20)
    return trial.judged


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_files_are_read_and_damaged_ones_never_a_fault(judged, kind):
    assert judged(kind, "whole", 0, 0).fate == "read"
    found = [judged(kind, damage, number, 0) for damage in DAMAGES for number in range(2)]
    assert [v for v in found if v.fate == "fault"] == []
    assert any(v.fate == "rejected" for v in found)


@pytest.mark.parametrize("kind", [kind for kind in MADE if kind not in SLOW])
def test_what_is_made_to_harm_is_rejected(judged, kind):
    verdict = judged(kind, "made", 0, 0)
    assert verdict.fate == "rejected", verdict


def test_the_same_seed_makes_the_same_files_and_each_kind_and_damage_has_its_turn():
    chosen = trial.names(2000)
    assert len(chosen) == 2000 == len(set(chosen))
    assert {(kind, damage) for kind, damage, _ in chosen} >= {(k, d) for k in WHOLE for d in DAMAGES}
    assert trial.content(*chosen[500], 0) == trial.content(*chosen[500], 0) != trial.content(*chosen[500], 1)


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (ValueError("x"), "ValueError: x"),
        (Rejected(f"the patient is {IDENTIFIER}"), "the reason tells an identifier"),
        (Rejected("two\nlines"), "the reason cannot be shown"),
    ],
)
def test_another_exception_an_identifier_and_a_reason_of_two_lines_are_faults(
    judged, monkeypatch, raised, told
):
    def read(data, name):
        raise raised

    monkeypatch.setattr(trial, "read_mammogram", read)
    verdict = judged("explicit.dcm", "truncated", 0, 0)
    assert verdict.fate == "fault" and told in verdict.reason


def test_a_file_that_kills_its_process_is_a_fault_of_that_file_alone(monkeypatch):
    def children(function, jobs, *, workers):
        yield from ((i, trial.CRASHED if i == 1 else function(*job)) for i, job in enumerate(jobs))

    monkeypatch.setattr(trial, "in_children", children)
    monkeypatch.setattr(trial, "judged", lambda *job: trial.Verdict(*job[:3], "read", "", 0, 0))
    fates = [v.fate for v in trial.verdicts(3, seed=0, workers=1)]
    assert fates == ["read", "fault", "read"]


def test_whole_dicom_files_hold_the_identifiers_that_are_looked_for():
    assert IDENTIFIER.encode() in dicom(picture(np.random.default_rng(0)))
