"""A request to stop: batch systems send SIGTERM some minutes before they kill.

The signal sets one flag. Loops look at it between two of their steps, where nothing is half done: `check` raises `Stopped`
there, and who has something to keep saves it on the way out. What finds no such place in `GRACE` seconds (the compiler, a
step of an hour) is ended all the same: everything on the disk is whole at any moment.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

EXIT_CODE = (
    75  # EX_TEMPFAIL of sysexits.h; nothing else here ends with it, so that a script may requeue on it
)
GRACE = 120.0  # seconds from the signal to the end, whatever the program is doing
SAME = 5.0  # seconds in which signals are one request: a scheduler tells all of a group, and who started it passes it on

_requested = threading.Event()
_numbers: set[int] = set()  # the signals that ask
_waiting = _by_vote = False
_asked: float | None = None  # when its handler ran first
_ends: tuple[socket.socket, socket.socket] | None = None  # what the signal's byte goes into, and out of
_OF_HANDLER = b"\0"  # no signal's number
_KILLED = 128 + signal.SIGTERM


class Stopped(BaseException):
    """The program was asked to stop. Not an `Exception`: whoever handles errors lets it pass."""


def listen(*, say: Callable[[str], None], grace: float = GRACE, relayed: int | None = None) -> None:
    """From now on SIGTERM is a request to stop; to be called in the main thread, once. One more, after `SAME` seconds, kills.

    say(text): told if `grace` seconds were not enough. relayed: another signal with the same meaning.
    """
    global _ends
    _numbers.update({signal.SIGTERM} if relayed is None else {signal.SIGTERM, relayed})
    _ends = socket.socketpair()
    _ends[0].setblocking(False)
    # Python runs its own handler only when the main thread is back from a long call; the byte comes at once
    signal.set_wakeup_fd(_ends[0].fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(_ends[1], grace, say), daemon=True, name="stopping").start()
    for number in _numbers:
        signal.signal(number, _handle)


@contextlib.contextmanager
def by_vote() -> Iterator[None]:
    """A block in which this process does not stop by itself, since others depend on it: `check` passes, `waiting` only waits.
    Who is in it looks at `requested`."""
    global _by_vote
    before, _by_vote = _by_vote, True
    try:
        yield
    finally:
        _by_vote = before


def over() -> None:
    """The program ends by itself: a request that comes now, again or relayed, changes nothing of how."""
    for number in _numbers:
        signal.signal(number, signal.SIG_IGN)


def requested() -> bool:
    """Whether the program was asked to stop."""
    return _requested.is_set()


def check() -> None:
    """Raises `Stopped` if the program was asked to stop."""
    if _requested.is_set() and not _by_vote:
        raise Stopped


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """A block that only waits and that the signal ends at once, by `Stopped`. For the main thread; elsewhere it does
    nothing."""
    global _waiting
    if _by_vote or threading.current_thread() is not threading.main_thread():
        yield
        return
    before, _waiting = _waiting, True
    try:
        check()  # a signal from just before
        yield
    finally:
        _waiting = before


def _handle(number, frame) -> None:
    global _asked
    if _asked is not None:
        if time.monotonic() - _asked > SAME:
            os._exit(_KILLED)
        return
    _asked = time.monotonic()
    _requested.set()
    with contextlib.suppress(OSError):  # an event loop may have taken the byte's way for itself
        _ends[0].send(_OF_HANDLER)
    if _waiting:
        raise Stopped


def _watch(read: socket.socket, grace: float, say: Callable[[str], None]) -> None:
    """Sees to the end where Python does not come to run a handler."""
    while not _numbers.intersection(told := read.recv(64)) and _OF_HANDLER not in told:
        pass
    _requested.set()
    asked = time.monotonic()
    while (left := asked + grace - time.monotonic()) > 0:
        read.settimeout(left)
        with contextlib.suppress(TimeoutError):
            if _numbers.intersection(read.recv(64)) and time.monotonic() - asked > SAME:
                os._exit(_KILLED)
    say(f"no step ended within {grace:.0f} s of the request to stop; what is on the disk is whole")
    os._exit(EXIT_CODE)


def _hold_back() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _numbers)


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _numbers)


def _forget_in_child() -> None:
    """A signal to a forked child is none to its parent, whose socket it shares."""
    if _numbers:
        signal.set_wakeup_fd(-1)
        for number in _numbers:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _numbers)


os.register_at_fork(before=_hold_back, after_in_parent=_let_through, after_in_child=_forget_in_child)
