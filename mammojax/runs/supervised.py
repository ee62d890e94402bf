"""A process that the runtime may abort, under one that says why.

When a process of a JAX program is lost, the runtime of the others ends them by SIGABRT from a thread of its own, with a
page of C++ on stderr: nothing in that process can answer. So the program runs in a child; its parent, which knows nothing
of JAX, passes stderr and SIGTERM on, and ends with the child's exit code or, after such an abort, with one line and
`stopping.EXIT_CODE`: the same command goes on.
"""

import ctypes
import os
import re
import select
import signal
import sys
from collections.abc import Callable

from mammojax.runs import stopping

RELAYED = (
    signal.SIGUSR1
)  # how the parent passes SIGTERM on: a scheduler may have sent that to the child as well
_FATAL = re.compile(rb"[EF]\d{4} [^\n]*(coordination_service|client\.h)")
_PR_SET_PDEATHSIG = 1
_POLL = 0.5  # seconds


def supervised(*, say: Callable[[str], None]) -> None:
    """Returns in a child of this process; the parent stays, and ends with it. To be called before there are threads.

    say(text): told, by the parent, if the runtime has ended the child because another process was lost.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    read, write = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        end_with(parent)
        os.close(read)
        os.dup2(write, 2)
        os.close(write)
        return
    os.close(write)
    ends: list[int] = []  # its status, once it has one

    def ended() -> bool:
        if not ends:
            number, status = os.waitpid(child, os.WNOHANG)
            ends.extend([status] if number else [])
        return bool(ends)

    signal.signal(signal.SIGTERM, lambda *_: ends or os.kill(child, RELAYED))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells the child itself
    held = _relay(read, 2, ended)
    code = os.waitstatus_to_exitcode(ends[0] if ends else os.waitpid(child, 0)[1])
    if code < 0 and held:  # SIGABRT, or SIGSEGV from whoever wrote down the threads on the way
        say("another process of this program was lost; what is saved is whole")
        os._exit(stopping.EXIT_CODE)
    os.write(2, held)
    os._exit(code if code >= 0 else 128 - code)


def end_with(parent: int) -> None:
    """This child of the process `parent` ends with it, whatever ends that: no process is left behind. On Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _relay(read: int, write: int, ended: Callable[[], bool]) -> bytes:
    """Passes everything on until the end, but what begins with the runtime's word of its abort: that is returned.

    ended(): whether who writes has ended; its own children (readers of data) may hold the pipe open for longer.
    """
    line, held, fresh = b"", b"", True  # of a line, what is not passed on yet; whether that is its beginning
    while True:
        over = ended()  # then all that it wrote is in the pipe
        if not select.select([read], [], [], 0 if over else _POLL)[0]:
            if over:
                break
            continue
        if not (chunk := os.read(read, 1 << 16)):
            break
        if held:
            held += chunk
            continue
        for part in chunk.splitlines(keepends=True):
            line += part
            if held or (fresh and _FATAL.match(line)):
                held, line = held + line, b""
            elif part.endswith((b"\n", b"\r")) or not (fresh and line[:1] in b"EF"):
                os.write(write, line)
                line, fresh = b"", part.endswith((b"\n", b"\r"))
    os.write(write, line)
    return held
