"""A request to stop: seen by loops, by what only waits, and by nothing for longer than the grace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import contextlib, fcntl, os, signal, sys, threading, time
from pathlib import Path
from mammojax.runs import locks, stopping
stopping.listen(say=lambda line: print("said:", line, flush=True), grace={grace})
ask = lambda: os.kill(os.getpid(), signal.SIGTERM)
try:
    {body}
except stopping.Stopped:
    print("stopped")
    sys.exit(stopping.EXIT_CODE)
"""


def ended(body, grace=600.0, *arguments):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body, grace=grace), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=3600,
    )


@pytest.mark.parametrize(
    "body",
    [
        "ask(); assert stopping.requested(); stopping.check()",
        "threading.Timer(0.1, ask).start(); exec('with stopping.waiting(): time.sleep(600)')",
        "ask(); exec('with stopping.waiting(): time.sleep(600)')",
    ],
    ids=["a loop", "what waits", "what is about to wait"],
)
def test_it_ends_at_the_next_place_with_a_code_of_its_own(body):
    done = ended(body)
    assert (done.returncode, done.stdout) == (75, "stopped\n"), done.stderr


def test_who_waits_for_a_lock_is_ended(tmp_path):
    from mammojax.runs import locks

    with locks.locked(tmp_path / "thing", what="thing", say=print):
        wait = "exec('with locks.locked(Path(sys.argv[1]), what=str(), say=print): print(1)')"
        done = ended(f"threading.Timer(0.2, ask).start(); {wait}", 600.0, str(tmp_path / "thing"))
    assert done.returncode == 75 and done.stdout.endswith("stopped\n"), done.stderr


def test_what_finds_no_place_to_stop_is_ended_after_the_grace_though_python_does_not_run():
    """A call that never comes back to Python, as a compiler's: no handler of Python runs meanwhile."""
    busy = "read, write = os.pipe(); threading.Timer(0.1, ask).start(); exec('while True: os.read(read, 1)')"
    done = ended(busy, 0.2)
    assert done.returncode == 75 and done.stdout.startswith("said: no step ended within 0 s"), done.stderr


def test_a_forked_child_that_is_terminated_does_not_stop_its_parent():
    body = (
        "child = os.fork() or time.sleep(600); os.kill(child, signal.SIGTERM); "
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -15; time.sleep(0.2); stopping.check()"
    )
    done = ended(body)
    assert done.returncode == 0, done.stderr


def test_signals_of_one_moment_are_one_request_and_one_more_kills():
    """A scheduler signals a whole group, and whoever started the process passes it on; a person who repeats it means it."""
    twice = "ask(); time.sleep(0.1); ask(); time.sleep(0.1); stopping.check()"
    done = ended(twice)
    assert (done.returncode, done.stdout) == (75, "stopped\n"), done.stderr
    for once_more in (
        "ask(); time.sleep(0.5); ask(); time.sleep(600)",
        # in a call that never comes back to Python
        "read, write = os.pipe(); [threading.Timer(t, ask).start() for t in (0.1, 0.6)]; "
        "exec('while True: os.read(read, 1)')",
    ):
        done = ended(f"stopping.SAME = 0.2; {once_more}")
        assert done.returncode == 128 + 15 and not done.stdout, done.stderr
