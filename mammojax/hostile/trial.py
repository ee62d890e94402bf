"""Reads damaged files one by one in child processes, and says of each: read, rejected with a reason, or a fault of ours."""

import resource
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammojax.datasets.builders.inbreast import contour_circles
from mammojax.datasets.labels import SCHEMES, facts_of, label
from mammojax.datasets.table import read_table
from mammojax.datasets.workbook import read_workbook
from mammojax.errors import UserError
from mammojax.hostile.damage import DAMAGES
from mammojax.hostile.whole import IDENTIFIER, MADE, WHOLE
from mammojax.images.breast import crop_breast
from mammojax.images.mammogram import MAX_PIXELS
from mammojax.images.reading.any_file import read_mammogram
from mammojax.images.reading.isolated import CRASHED, in_children
from mammojax.seeds import stream

SECONDS = 20  # that a file may take
MEGABYTES = 2048  # that a child may hold
_LONGEST = 400  # characters of a reason


@dataclass(frozen=True)
class Verdict:
    """What became of a file.

    kind, damage: of the file, names of `WHOLE` and `DAMAGES`, or of `MADE` and "made". number: of the file, from which it
    is made again. fate: "read", "rejected" or "fault". reason: of a rejection or a fault. seconds, megabytes: it took; the
    latter is the largest that its process ever held.
    """

    kind: str
    damage: str
    number: int
    fate: str
    reason: str
    seconds: float
    megabytes: float


def names(files: int) -> list[tuple[str, str, int]]:
    """(kind, damage, number) of so many files: each of `MADE` once, every kind whole once, then kinds and damages in turn."""
    chosen = [(kind, "made", 0) for kind in MADE] + [(kind, "whole", 0) for kind in WHOLE]
    kinds, damages = list(WHOLE), list(DAMAGES)
    for number in range(max(0, files - len(chosen))):
        chosen.append((kinds[number % len(kinds)], damages[number // len(kinds) % len(damages)], number))
    return chosen[:files]


def content(kind: str, damage: str, number: int, seed: int) -> bytes:
    """The bytes of a file; the same for the same arguments."""
    if damage == "made":
        return MADE[kind]()
    rng = np.random.default_rng(stream(seed, "hostile", kind, damage, number))
    data = WHOLE[kind](rng)
    return data if damage == "whole" else DAMAGES[damage](data, rng)


def verdicts(
    files: int, *, seed: int, workers: int, track: Callable = lambda it, **_: it
) -> Iterator[Verdict]:
    """The verdict on each of so many files, in any order. workers: child processes, 1 or more."""
    jobs = [(*name, seed) for name in names(files)]
    done = track(in_children(judged, jobs, workers=workers), total=len(jobs), description="reading")
    for i, verdict in done:
        if verdict == CRASHED:
            kind, damage, number, _ = jobs[i]
            verdict = Verdict(
                kind, damage, number, "fault", f"crashed, or took over {SECONDS} s", SECONDS, 0.0
            )
        yield verdict


def judged(kind: str, damage: str, number: int, seed: int) -> Verdict:
    """Makes and reads a file; runs in a child, which an alarm ends when it hangs."""
    data = content(kind, damage, number, seed)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    began = time.perf_counter()
    try:
        fate, reason = _read(kind, data)
    except MemoryError:
        fate, reason = "rejected", "not enough memory"
    except Exception as error:
        fate, reason = "fault", f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - began
    signal.alarm(0)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if fate == "rejected" and (flaw := _flaw(reason)):
        fate, reason = "fault", flaw
    if fate != "fault" and megabytes > MEGABYTES:
        fate, reason = "fault", f"held {megabytes:.0f} MB"
    if damage == "whole" and fate != "read":
        fate, reason = "fault", f"a whole file was not read: {reason}"
    return Verdict(kind, damage, number, fate, reason, seconds, megabytes)


def _read(kind: str, data: bytes) -> tuple[str, str]:
    """("read", "") or ("rejected", reason); raises whatever the readers should not."""
    try:
        if kind.endswith((".csv", ".xlsx", ".xml")):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"file{Path(kind).suffix}"
                path.write_bytes(data)
                return _read_table(path)
        mammogram = read_mammogram(data, kind)
        pixels = mammogram.pixels
        sound = (
            pixels.ndim == 2
            and pixels.dtype == np.uint16
            and 0 < pixels.size <= MAX_PIXELS
            and pixels.max() < 2**mammogram.bits
        )
        if not sound:
            return (
                "fault",
                f"{pixels.shape} {pixels.dtype} of {mammogram.bits} bits was taken for a mammogram",
            )
        crop_breast(mammogram)
    except UserError as error:
        return "rejected", str(error)
    return "read", ""


def _read_table(path: Path) -> tuple[str, str]:
    if path.suffix == ".xml":
        circles, warnings = contour_circles(path)
        if not all(np.isfinite([c["row"], c["column"], c["radius"]]).all() for c in circles):
            return "fault", "a circle of no place"
        return ("rejected", warnings[0]) if warnings else ("read", "")
    table = read_workbook(path) if path.suffix == ".xlsx" else read_table(path)
    for row in table.rows:
        facts = facts_of(row.values.get("label", ""), row.values.get("birads", ""))
        for scheme in SCHEMES:
            label(facts, scheme)
    return "read", ""


def _flaw(reason: str) -> str:
    """What is wrong with a reason, "" if it is one that can be shown."""
    if not reason or len(reason) > _LONGEST or not reason.isprintable():
        return f"the reason cannot be shown: {reason[:60]!r}"
    if IDENTIFIER in reason:
        return "the reason tells an identifier"
    return ""
