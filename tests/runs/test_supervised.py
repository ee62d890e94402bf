"""A program under one that turns the runtime's abort into a line, and passes everything else on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, signal, sys, time
from mammojax.runs import stopping, supervised
supervised.supervised(say=lambda line: print("said:", line, flush=True))
stopping.listen(say=print, relayed=supervised.RELAYED)
try:
    {body}
except stopping.Stopped:
    stopping.over()
    sys.exit(stopping.EXIT_CODE)
"""
ABORT = (
    "os.write(2, b'kept\\\\n50%\\\\rE1128 06:05:46.03 10312 coordination_service_agent.cc:289] Polled an error\\\\nF11'); "
    "os.write(2, b'28 06:04:06.7 10030 client.h:80] Terminating process\\\\n  @ 0x7f\\\\n'); os.abort()"
)


def start(body):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("code", [0, 1, 2, 75])
def test_exit_codes_and_words_pass(code):
    program = start(f"print('out'); print('Failed: words', file=sys.stderr); sys.exit({code})")
    assert program.communicate(timeout=600) == ("out\n", "Failed: words\n") and program.returncode == code


@pytest.mark.parametrize("death", ["os.abort()", "os.kill(os.getpid(), signal.SIGSEGV)"])
def test_the_abort_of_the_runtime_is_one_line_and_the_code_that_is_requeued(death):
    program = start(ABORT.replace("\\\\", "\\").replace("os.abort()", death))
    out, errors = program.communicate(timeout=600)
    assert (out, errors) == (
        "said: another process of this program was lost; what is saved is whole\n",
        "kept\n50%\n",  # read as text, a carriage return is a line's end
    )
    assert program.returncode == 75


def test_another_abort_is_a_defect_and_keeps_its_words():
    program = start("os.write(2, b'E1128 06:05:46.0 1 other.cc:2] words'); os.abort()")
    out, errors = program.communicate(timeout=600)
    assert out == "" and errors.startswith("E1128") and program.returncode == 128 + signal.SIGABRT


@pytest.mark.parametrize(
    "both", [False, True], ids=["the parent", "the parent and, as some schedulers do, the child"]
)
def test_a_request_to_stop_reaches_the_program_once(both):
    wait = "while True:\n with stopping.waiting(): time.sleep(0.05)"  # a signal may come just before a sleep begins
    program = start(f"print(os.getpid(), flush=True); exec({wait!r})")
    child = int(program.stdout.readline())
    assert child != program.pid
    if both:
        os.kill(child, signal.SIGTERM)
    program.send_signal(signal.SIGTERM)
    assert program.wait(timeout=600) == 75


def test_no_program_is_left_behind_by_a_killed_parent():
    program = start("print(os.getpid(), flush=True); time.sleep(600)")
    child = int(program.stdout.readline())
    program.kill()
    program.wait()
    until = time.monotonic() + 60
    while Path(f"/proc/{child}/stat").exists() and time.monotonic() < until:
        if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":  # nobody reaps it here
            break
        time.sleep(0.02)
    assert time.monotonic() < until


def test_what_the_program_started_does_not_hold_its_parent():
    """Readers of data hold stderr too, and do not end with a program that ends at once."""
    program = start(
        "import subprocess; subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL); os._exit(75)"
    )
    began = time.monotonic()
    assert program.wait(timeout=600) == 75
    assert time.monotonic() - began < 30  # of a loaded machine, and less than the sleep
