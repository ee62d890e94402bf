"""Runs a launcher as a user does, in a process of its own.

The processes are forked from one that has imported what all launchers need, once a session: seconds of each are saved. It
has started no backend of JAX and no thread.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRELOADED = ("mammojax.experiment.crossval", "mammojax.experiment.predict", "mammojax.report.gathered")
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(list(PRELOADED))


def run(module, *arguments, cwd=ROOT, timeout=3600):  # a hang, not a slow machine
    """`python -m MODULE ARGUMENTS` to its end, with its exit code and what it printed."""
    arguments = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("stdout", "stderr")]
        process = _FORKS.Process(target=_main, args=(module, arguments, str(cwd), streams, dict(os.environ)))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([module, *arguments], timeout)
        said = [path.read_text(encoding="utf-8", errors="replace") for path in streams]
    return subprocess.CompletedProcess([module, *arguments], process.exitcode, *said)


def _main(module: str, arguments: list[str], cwd: str, streams: list[Path], environment: dict) -> None:
    for number, path in enumerate(streams, 1):
        with path.open("wb") as file:
            os.dup2(file.fileno(), number)
    os.environ.clear()
    os.environ.update(environment, PYTHONPATH=str(ROOT), JAX_PLATFORMS="cpu")
    os.chdir(cwd)
    sys.path[:0] = [cwd, str(ROOT)]  # as `python -m` has it
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        sys.stdout.flush()


def error_line(done) -> str:
    """The one line of a mended error; fails on a traceback or exit code 0."""
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1 and lines[0].startswith("error: ") and "Traceback" not in done.stderr, done.stderr
    return lines[0]
