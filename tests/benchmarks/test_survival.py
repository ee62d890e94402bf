"""A soak goes on with a new run when one is done, until all kills were made, and sees a run that was changed by them."""

import json
import subprocess
import sys

SOAK = """
import json, sys, time
from pathlib import Path
from mammojax.benchmarks.survival import soak

counting = sys.argv[2] == "counting"

def work(place, say):
    place.mkdir(parents=True, exist_ok=True)
    starts = place / "starts"
    starts.write_text((starts.read_text() if starts.exists() else "") + "x")
    for k in range(3):  # every start does a piece, however soon it is killed after that
        if not (place / str(k)).exists():
            (place / str(k)).touch()
            time.sleep(0.3)
    (place / "table.json").write_text(starts.read_text() if counting else "done")
    (place / "cells.json").write_text("{}")

seen = soak(work, Path(sys.argv[1]), kills=24, processes=(1, 2), say=lambda line: None)
print(json.dumps([seen.rounds, seen.starts, sum(seen.codes.values()), seen.differing]))
"""


def soaked(folder, kind) -> list:
    # a process of its own: it forks, and JAX of this one does not survive that
    done = subprocess.run(
        [sys.executable, "-c", SOAK, str(folder), kind], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_all_kills_are_made_over_as_many_runs_as_it_takes(tmp_path):
    rounds, starts, kills, differing = soaked(tmp_path, "steady")
    assert kills == 24 and differing == []
    assert (
        rounds > 2
    )  # twelve kills in one run each, where three starts are enough, would be against a run that is done
    # every kill is followed by a start, and a run begins with one or with two
    assert starts >= kills + rounds
    assert not any((tmp_path / "by_1").glob("*/"))  # what is right is not kept


def test_a_run_whose_bytes_tell_of_the_kills_is_named_and_kept(tmp_path):
    rounds, _, kills, differing = soaked(tmp_path, "counting")
    assert (
        kills == 24
        and differing
        and set(differing) <= {f"by_{number}/{k}/table.json" for number in (1, 2) for k in range(rounds)}
    )
    assert all((tmp_path / name).is_file() for name in differing)
