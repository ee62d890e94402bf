"""Preparation killed at any moment, on a full disk, and by several processes at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.datasets.small_films import FOUR, little


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted")
    source = little(folder, FOUR)
    program = Path(__file__).with_name("interrupted_program.py")
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, program, source, folder],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(program.parent)))},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def same(found: dict, reference: dict) -> bool:
    return found["facts"] == reference["facts"] and found["patients"] == reference["patients"]


def test_killed_at_any_moment_it_goes_on_to_the_same_records(told):
    found = told["killed"]["found"]
    assert same(found["random"], told["reference"]) and same(found["stepwise"], told["reference"])
    assert 5 < told["killed"]["starts"] < 25  # a set of four pictures in four shards is made of 19 files


def test_killed_while_its_scratch_is_removed_it_is_finished(told):
    assert told["killed"]["first"] is None
    assert same(told["killed"]["after"], told["reference"])
    assert any("is reused" in line for line in told["killed"]["after"]["lines"])


def test_a_full_disk_is_one_line_at_any_step_and_costs_nothing_that_was_done(told):
    errors = [found["error"] for found in told["full_disk"]["errors"] if found["code"] != 0]
    assert len(errors) >= 3 and all(found["code"] in (0, 2) for found in told["full_disk"]["errors"])
    assert all("cannot write" in error and "free space" in error and "\n" not in error for error in errors)
    assert same(told["full_disk"]["after"], told["reference"])


def test_several_at_once_make_one_set_with_one_salt(told):
    assert all(same(found, told["reference"]) for found in told["together"])
    assert len({tuple(found["hashes"]) for found in told["together"]}) == 1
    assert len(set(told["together"][0]["hashes"])) == 3  # one hash a patient
    waited = [line for found in told["together"] for line in found["lines"] if "is being made by" in line]
    assert len(waited) >= 2  # two of three wait, for the salt or for the set
