"""Work in child processes: a damaged compressed file can kill a decoder together with the process it runs in.

Each child has one job at a time, so that it is known which one killed it. A child ends with its parent, whatever kills
the parent: on Linux the kernel sees to it (PR_SET_PDEATHSIG), everywhere a thread of the child waits for the end of the
socket that jobs come through. It holds neither the parent's terminal nor its pipes.
"""

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any

CRASHED = "the decoder crashed on this file"

_START = (
    "import sys; sys.path[:] = sys.argv[3:]; from mammojax.images.reading import isolated; "
    "isolated._serve(int(sys.argv[1]), int(sys.argv[2]))"
)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def in_children(
    function: Callable, jobs: Iterable[tuple], *, workers: int
) -> Iterator[tuple[int, Any | str]]:
    """(number of the job, function(*job), or `CRASHED` where the job killed its process), in any order, one of each.

    function: importable, not of __main__; it, the jobs and the results are pickled. jobs: taken as they are needed;
    each child works one job ahead of what was yielded. workers: processes, 1 or more. An exception of the function is
    raised here, with the child's traceback as a note. Children end when the iterator does, and with this process.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; expected 1 or more")
    numbered = enumerate(jobs)
    children: dict[Connection, _Child] = {}

    def give(child: _Child | None, number: int, job: tuple) -> None:
        while child is None or not child.take(number, job):
            child = _Child(function)
        children[child.connection] = child

    try:
        for number, job in islice(numbered, workers):
            give(None, number, job)
        while children:
            for connection in wait(list(children)):
                child = children[connection]
                if not (told := child.told()):
                    continue
                number, alive, outcome = child.number, *told
                del children[connection]
                following = next(numbered, None)
                if following is not None:
                    give(child if alive else None, *following)
                if not alive or following is None:
                    child.end()
                if isinstance(outcome, BaseException):
                    raise outcome
                yield number, outcome
    finally:
        for child in children.values():
            child.end()


class _Child:
    """One process that runs `function`; `number` is the job it has."""

    def __init__(self, function: Callable):
        self.connection, theirs = multiprocessing.Pipe()
        self.number, self._ready = -1, False
        # why it did not start; no pipe, which would have to be emptied. `end` closes it
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        # PR_SET_PDEATHSIG is about the thread that starts the child: only the main one lives as long as the process
        lasting = int(threading.current_thread() is threading.main_thread())
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno()), str(lasting), *sys.path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
            )
        with contextlib.suppress(OSError):  # if it is dead already, `told` says why
            self.connection.send(function)

    def take(self, number: int, job: tuple) -> bool:
        """Gives it a job. False if it has died since its last one, of which that job is innocent."""
        self.number = number
        try:
            self.connection.send(job)
        except OSError:
            if not self._ready:  # a child that never started
                self.told()
            self.end()
            return False
        return True

    def told(self) -> tuple[bool, Any] | None:
        """(whether it lives, result or exception or CRASHED); None if it has only said that it is ready."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            if self._ready:
                return False, CRASHED
            self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
            self.end()
            raise RuntimeError(
                f"a child process ended before it took work (exit code {self._process.returncode}): {last}"
            ) from None
        if not self._ready:
            self._ready = True
            return None
        return True, message

    def end(self) -> None:
        """Ends the process at once; it has nothing to tidy up."""
        self._process.kill()
        self._process.wait()
        self.connection.close()
        self._errors.close()


def _keep_memory() -> None:
    """Of glibc: arrays of up to 32 MB lie in memory that is kept for the next one. Given back and fetched anew, every page of
    it is cleared first, which takes longer than what is done with it: a record of 18 MB is serialised in a fifth of the time.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, 256 << 20)


def _serve(descriptor: int, lasting: int) -> None:
    """What a child does: takes the function, then jobs, until its parent ends."""
    if sys.platform == "linux" and lasting:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _keep_memory()
    # both reach the whole group of processes; the parent decides, and a killed child would cost its file
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection, jobs = Connection(descriptor), queue.SimpleQueue()

    def receive() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                jobs.put(connection.recv_bytes())
        os._exit(0)  # the parent is gone, whatever this process is doing

    threading.Thread(target=receive, daemon=True).start()
    function = pickle.loads(jobs.get())  # from the parent alone: the socket has no name
    connection.send("ready")
    while True:
        try:
            result = function(*pickle.loads(jobs.get()))
            connection.send(result)
        except Exception as error:
            error.add_note("in a child process:\n" + traceback.format_exc())
            try:
                connection.send(error)
            except Exception:  # one that cannot be pickled
                connection.send(RuntimeError(traceback.format_exc()))
