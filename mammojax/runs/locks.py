"""Locks between processes: one at a time makes a thing, the others wait or take other work.

A lock is `flock` on a small file beside what it guards (`.NAME.lock`; never inside a folder that may be renamed), so that
the kernel ends it with its holder, however that one dies. The file holds the holder's host and process number, for the
line that a waiting process says, and is removed with the lock.
"""

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mammojax.errors import UserError
from mammojax.runs import stopping


class NoLock(UserError):
    """The place takes no lock: read-only, full, not ours, or a file system without flock."""


_held: set[int] = set()  # descriptors of the locks of this process


def _let_go_in_child() -> None:
    """A forked child shares its parent's locks and would keep them alive beyond it: closing leaves the parent's alone."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


@contextlib.contextmanager
def locked(path: Path, *, what: str, say: Callable[[str], None]) -> Iterator[bool]:
    """Holds the lock of `path` (a file or folder, there or not) for the block; waits for it as long as it takes.

    what: what is made there, for the one line that says who is waited for. Not re-entrant.
    Raises NoLock.
    """
    file = _lock_file(path)
    descriptor = _acquire(file)
    if descriptor is None:
        say(f"{what} is being made by {holder(path)}; waiting for it")
        descriptor = _acquire(file, wait=True)
    try:
        yield True
    finally:
        _release(file, descriptor)


@contextlib.contextmanager
def try_locked(path: Path) -> Iterator[bool]:
    """Gives True with the lock of `path` held for the block, False at once if another holds it. Raises NoLock."""
    file = _lock_file(path)
    descriptor = _acquire(file)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            _release(file, descriptor)


def holder(path: Path) -> str:
    """Who holds the lock of `path`, in words."""
    for _ in range(10):  # the holder writes its name a moment after it has the lock
        with contextlib.suppress(OSError, ValueError):
            host, process = _lock_file(path).read_text(encoding="utf-8").split()
            return f"process {int(process)} on {host}"
        time.sleep(0.01)
    return "another process"


def _lock_file(path: Path) -> Path:
    path = Path(os.path.abspath(path))
    return path.with_name(f".{path.name}.lock")


def _acquire(file: Path, *, wait: bool = False) -> int | None:
    """Descriptor of the locked file, None if another holds it and `wait` is False."""
    while True:
        descriptor = None
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
            with stopping.waiting() if wait else contextlib.nullcontext():
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_at(file, descriptor):
                _held.add(descriptor)
                _sign(descriptor)
                return descriptor
            os.close(
                descriptor
            )  # its holder removed the file while we waited: the lock is another file by now
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException as error:
            if descriptor is not None:
                os.close(descriptor)
            if not isinstance(error, OSError):
                raise
            remedy = (
                "its file system offers no locks; choose another folder"
                if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
                else "free space or choose another folder"
            )
            raise NoLock(f"cannot lock {file}: {error.strerror}; {remedy}") from error


def _sign(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{socket.gethostname()} {os.getpid()}\n".encode(), 0)


def _is_at(file: Path, descriptor: int) -> bool:
    """Whether the open file is the one that lies there under its name.

    Opened anew: NFS asks its server then, and answers `stat` from memory for up to a minute after another machine has
    removed the file.
    """
    try:
        there = os.open(file, os.O_RDONLY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return False
        raise
    try:
        return os.path.samestat(os.fstat(there), os.fstat(descriptor))
    finally:
        os.close(there)


def _release(file: Path, descriptor: int) -> None:
    if descriptor not in _held:
        return  # a forked child leaves its parent's block
    with contextlib.suppress(OSError):
        if _is_at(file, descriptor):
            file.unlink()  # still locked: whoever waits for this file sees that it is gone and takes the next
    _held.discard(descriptor)
    os.close(descriptor)
