"""What is in the files: their sha256, and the depth of the 16-bit rasters among them.

Both are properties of the bytes alone. They are remembered in a file beside the prepared sets, so that a second start
need not read everything again; what is remembered of a file that has changed since in any way is not used, nor what
was read within the clock's grain of a change, nor a memory that is damaged.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mammojax.datasets.workers import results
from mammojax.errors import UserError
from mammojax.images.mammogram import usual_depth
from mammojax.images.reading.pgm import states_no_depth
from mammojax.images.reading.raster import raster_maximum
from mammojax.runs.files import read_sealed, sha256_of, write_sealed

_GRAIN = 2_000_000_000  # nanoseconds: the coarsest time stamps of file systems in use
_OFTEN = 60.0  # seconds


class Contents:
    """What is known of files' contents. path: the file that it is remembered in."""

    def __init__(self, path: Path):
        self._path = Path(path)
        self._digests: dict[str, list] = {}
        self._maxima: dict[str, int] = {}
        with contextlib.suppress(UserError):  # one that is out of reach costs time only
            known = read_sealed(self._path) or {}
            self._digests, self._maxima = known.get("digests", {}), known.get("largest", {})

    def digests(self, paths: Sequence[Path], *, workers: int, track: Callable) -> dict[Path, str]:
        """The sha256 of every file; "" for one that cannot be read."""
        found, unread = {}, []
        for path in dict.fromkeys(paths):
            known = self._digests.get(name_of(path))
            if known and known[:-1] == marks_of(path):
                found[path] = known[-1]
            else:
                unread.append(path)
        if unread:
            with ThreadPoolExecutor(max(1, workers)) as pool:  # hashing lets other threads run
                read = track(pool.map(_digest, unread), total=len(unread), description="hashing")
                try:
                    for (digest, marks), path in zip(remembering(read, self._remember), unread):
                        found[path] = digest
                        if marks:
                            self._digests[name_of(path)] = [*marks, digest]
                finally:  # asked to stop, it waits for no file that is not begun
                    pool.shutdown(cancel_futures=True)
        return found

    def depth(self, files: Iterable[tuple[Path, str]], *, workers: int, track: Callable) -> int:
        """Bits of the 16-bit rasters that do not state their own: the smallest usual depth that holds the largest value
        of all of them; 0 if there are none. files: (path, sha256) of each."""
        wanted = {digest: path for path, digest in files if digest}
        unread = [digest for digest in wanted if digest not in self._maxima]
        self._maxima.update({digest: 0 for digest in unread if not _is_deep(wanted[digest])})
        unread = [digest for digest in unread if digest not in self._maxima]
        if unread:
            jobs = [(wanted[digest],) for digest in unread]
            read = track(results(largest_value, jobs, workers=workers), total=len(jobs), description="depth")
            for i, largest in remembering(read, self._remember):
                if isinstance(largest, int):
                    self._maxima[unread[i]] = largest
        largest = max((self._maxima.get(digest, 0) for digest in wanted), default=0)
        return usual_depth(largest) if largest else 0

    def _remember(self) -> None:
        with contextlib.suppress(UserError):  # on a read-only disk everything is read again next time
            write_sealed(self._path, {"digests": self._digests, "largest": self._maxima})


def remembering(read: Iterable, remember: Callable[[], None]) -> Iterator:
    """What is read. remember: called now and then, and at the end, however it comes; a kill costs what was read since."""
    due = time.monotonic() + _OFTEN
    try:
        for one in read:
            yield one
            if time.monotonic() >= due:
                remember()
                due = time.monotonic() + _OFTEN
    finally:
        remember()


def _is_deep(path: Path) -> bool:
    """Whether a file may be a 16-bit raster of unstated depth, by its first bytes: what is none need not be decoded.

    So may one that cannot be read now.
    """
    try:
        with path.open("rb") as file:
            start = file.read(1 << 16)
    except OSError:
        return True
    if start.startswith(b"\x89PNG"):
        return start[24:25] == b"\x10"  # IHDR's bit depth
    if start[:2] in (b"P2", b"P5"):
        return states_no_depth(start)
    return start[:4] in (b"II*\0", b"MM\0*")  # DICOM states its bits


def largest_value(path: Path) -> int | None:
    """The largest value of a 16-bit raster of unstated depth, 0 for any other file, None where that could not be found out this
    time; runs in a worker."""
    try:
        return raster_maximum(path.read_bytes())
    except (MemoryError, OSError):
        return None


def name_of(path: Path) -> str:
    """What a file is remembered by: its whole path, whatever bytes it is made of."""
    return os.fsencode(os.path.abspath(path)).decode("utf-8", "backslashreplace")


def marks_of(path: Path) -> list[int]:
    """What changes whenever a file is written or replaced; the time of the inode's change cannot be set by hand."""
    try:
        stat = path.stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]


def trustworthy(marks: list[int], now: int) -> bool:
    """Whether a file with these marks cannot have changed, since `now` (in nanoseconds), without a change of them."""
    return bool(marks) and max(marks[1], marks[2]) < now - _GRAIN


def _digest(path: Path) -> tuple[str, list[int]]:
    """The sha256 ("" if it cannot be read), and the marks to remember it by, [] if they cannot be trusted yet."""
    before, now = marks_of(path), time.time_ns()
    try:
        digest = sha256_of(path)
    except OSError:
        return "", []
    trusted = before == marks_of(path) and trustworthy(before, now)
    return digest, before if trusted else []
