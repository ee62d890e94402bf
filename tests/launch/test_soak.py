"""A cross-validation that is killed at random moments ends with the bytes of one that nobody disturbed."""

import re

import pytest
from program import error_line, run


def soaked(folder, kills, *flags):
    done = run("launch.soak", f"--kills={kills}", f"--folder={folder / 'soak'}", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^{kills} kills, \d+ runs, \d+ starts; killed in: ", done.stdout, re.MULTILINE)
    assert "are those of the undisturbed run, to the byte" in done.stdout


def test_killed_twice_it_ends_with_the_bytes_of_an_undisturbed_run(tmp_path):
    soaked(tmp_path, 2, "--processes=1", "--config.crossval.arms=bce")


@pytest.mark.slow
def test_one_and_two_processes_in_both_stages_survive_forty_kills(tmp_path):
    soaked(tmp_path, 40)


@pytest.mark.parametrize("number", ["0", "-1", "two", ""])
def test_a_number_of_processes_that_is_none_is_one_line(tmp_path, number):
    done = run("launch.soak", f"--folder={tmp_path}", f"--processes={number}")
    assert error_line(done) == f"error: --processes={number}: expected numbers from 1, such as 1,2"
