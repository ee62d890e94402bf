"""Where a finding lies, from the pictures of it that a set ships: the circle around its mask.

Of the files of a finding the mask is the one of two values and of the mammogram's own size: names and descriptions are
not believed, since masks and crops are found under each other's. A circle is remembered in a file beside the prepared sets
and used again while none of the files has changed in any way; a finding without one is looked at again at every start, since a
disk that could not be read may be there again.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mammojax.datasets.contents import marks_of, name_of, remembering, trustworthy
from mammojax.datasets.workers import results
from mammojax.errors import UserError
from mammojax.images.mammogram import Rejected
from mammojax.images.reading.dicom import read_mask
from mammojax.images.reading.peek import peek
from mammojax.runs.files import read_sealed, write_sealed

Finding = tuple[Path, tuple[Path, ...]]
"""A mammogram, and the files that may be the mask of one finding in it. All are DICOM."""


def circles(
    findings: Sequence[Finding], *, memory: Path, workers: int, track: Callable
) -> list[dict[str, float] | str]:
    """For each finding the circle around the box of its mask, "row", "column", "radius" in pixels of the mammogram, or the
    reason why there is none. memory: the file that it is remembered in. workers, track: see `prepare`."""
    known: dict[str, dict] = {}
    with contextlib.suppress(UserError):  # one that is out of reach costs time only
        known = read_sealed(memory) or {}
    now = time.time_ns()
    names = [name_of(files[0]) for _, files in findings]
    marks = [[marks_of(path) for path in (whole, *files)] for whole, files in findings]
    found = [
        entry["circle"] if entry and entry["marks"] == mine else None
        for entry, mine in zip(map(known.get, names), marks)
    ]
    unread = [i for i, circle in enumerate(found) if circle is None]
    if unread:

        def remember() -> None:
            with contextlib.suppress(UserError):  # on a read-only disk they are read again next time
                write_sealed(memory, known)

        read = results(mask_circle, [findings[i] for i in unread], workers=workers)
        read = track(read, total=len(unread), description="masks of findings")
        for k, circle in remembering(read, remember):
            i = unread[k]
            found[i] = circle
            if isinstance(circle, dict) and all(trustworthy(mark, now) for mark in marks[i]):
                known[names[i]] = {"marks": marks[i], "circle": circle}
    return found


def mask_circle(whole: Path, files: Sequence[Path]) -> dict[str, float] | str:
    """The circle of one finding, or the reason why there is none; see `circles`. Runs in a worker."""
    shape, reasons = peek(whole).shape, []
    for path in files:
        size = peek(path).shape
        if size != shape:
            reasons.append(f"{size[0]} x {size[1]} pixels")
            continue
        try:
            return circle_around(read_mask(path.read_bytes()))
        except Rejected as reason:
            reasons.append(str(reason))
        except (MemoryError, OSError) as error:
            reasons.append(f"cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}")
    return (
        f"of its {len(files)} files none is a mask of {shape[0]} x {shape[1]} pixels ({'; '.join(reasons)})"
    )


def circle_around(mask: np.ndarray) -> dict[str, float]:
    """The circle around the box of what is True. mask: bool[h, w], not all False."""
    ends = [np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    (top, bottom), (left, right) = ((float(first), float(last)) for first, last in ends)
    radius = (max(bottom - top, right - left) + 1) / 2  # to the outer edges of the outermost pixels
    return {"row": (top + bottom) / 2, "column": (left + right) / 2, "radius": radius}
