"""A soak goes on with a new run when one is done, until all kills were made, and sees a run that was changed by them."""

import json
import subprocess
import sys
import time
from pathlib import Path

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

seen = soak(work, Path(sys.argv[1]), kills=25, processes=(1, 2), say=lambda line: None)
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
    assert kills == 25 and differing == []
    assert (
        rounds > 2
    )  # twelve kills in one run each, where three starts are enough, would be against a run that is done
    # every kill is followed by a start, and a run begins with one or with two
    assert starts >= kills + rounds
    assert not any((tmp_path / "by_1").glob("*/"))  # what is right is not kept


def test_a_run_whose_bytes_tell_of_the_kills_is_named_and_kept(tmp_path):
    rounds, _, kills, differing = soaked(tmp_path, "counting")
    assert (
        kills == 25
        and differing
        and set(differing) <= {f"by_{number}/{k}/table.json" for number in (1, 2) for k in range(rounds)}
    )
    assert all((tmp_path / name).is_file() for name in differing)


ALONE = """
import os, signal, sys, threading, time
from pathlib import Path
from mammojax.benchmarks.survival import soak
from mammojax.errors import UserError
from mammojax.runs import stopping

folder, how = Path(sys.argv[1]), sys.argv[2]

def work(place, say):
    (folder / "child").write_text(str(os.getpid()))
    if how == "fails":
        raise ValueError("words of the work")
    time.sleep(600)

stopping.listen(say=print)
if how == "stopped":
    threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
try:
    soak(work, folder, kills=1, say=print)
except UserError as error:
    print(error)
except stopping.Stopped:
    sys.exit(75)
"""


def alone(folder, how):
    return subprocess.run(
        [sys.executable, "-c", ALONE, str(folder), how], capture_output=True, text=True, timeout=120
    )


def test_an_undisturbed_run_that_fails_is_one_line_that_says_where_to_look(tmp_path):
    done = alone(tmp_path, "fails")
    assert done.stdout == (
        f"the undisturbed run ended with code 1; its last lines are in {tmp_path / 'undisturbed.log'}\n"
    ), done.stderr
    assert "words of the work" in (tmp_path / "undisturbed.log").read_text()


def test_a_soak_that_is_asked_to_stop_leaves_no_process_behind(tmp_path):
    assert alone(tmp_path, "stopped").returncode == 75
    child = tmp_path / "child"
    until = time.monotonic() + 20
    while _runs(int(child.read_text())) and time.monotonic() < until:
        time.sleep(0.05)
    assert time.monotonic() < until


def _runs(process) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
