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

_requested = threading.Event()
_waiting = False
_ends: tuple[socket.socket, socket.socket] | None = None  # what the signal's byte goes into, and out of


class Stopped(BaseException):
    """The program was asked to stop. Not an `Exception`: whoever handles errors lets it pass."""


def listen(*, say: Callable[[str], None], grace: float = GRACE) -> None:
    """From now on SIGTERM is a request to stop; to be called in the main thread, once. A second SIGTERM kills.

    say(text): told if `grace` seconds were not enough.
    """
    global _ends
    _ends = socket.socketpair()
    _ends[0].setblocking(False)
    # Python runs its own handler only when the main thread is back from a long call; the byte comes at once
    signal.set_wakeup_fd(_ends[0].fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(_ends[1], grace, say), daemon=True, name="stopping").start()
    signal.signal(signal.SIGTERM, _handle)


def requested() -> bool:
    """Whether the program was asked to stop."""
    return _requested.is_set()


def check() -> None:
    """Raises `Stopped` if the program was asked to stop."""
    if _requested.is_set():
        raise Stopped


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """A block that only waits and that the signal ends at once, by `Stopped`. For the main thread; elsewhere it does
    nothing."""
    global _waiting
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, _waiting = _waiting, True
    try:
        check()  # a signal from just before
        yield
    finally:
        _waiting = before


def _handle(number, frame) -> None:
    signal.signal(number, signal.SIG_DFL)
    _requested.set()
    with contextlib.suppress(OSError):  # an event loop may have taken the byte's way for itself
        _ends[0].send(bytes([number]))
    if _waiting:
        raise Stopped


def _watch(read: socket.socket, grace: float, say: Callable[[str], None]) -> None:
    while signal.SIGTERM not in read.recv(64):
        pass
    _requested.set()
    time.sleep(grace)
    say(f"no step ended within {grace:.0f} s of the request to stop; what is on the disk is whole")
    os._exit(EXIT_CODE)


def _hold_back() -> None:
    if signal.getsignal(signal.SIGTERM) is _handle:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _let_through() -> None:
    if signal.getsignal(signal.SIGTERM) is _handle:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _forget_in_child() -> None:
    """A signal to a forked child is none to its parent, whose socket it shares."""
    if signal.getsignal(signal.SIGTERM) is _handle:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


os.register_at_fork(before=_hold_back, after_in_parent=_let_through, after_in_child=_forget_in_child)
