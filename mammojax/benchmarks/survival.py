"""Killed at random moments: what comes of a cross-validation, beside one that nobody disturbed.

The work runs in forks of this process, which has loaded the modules once and starts no JAX of its own (a backend does not
survive a fork). Patients' hashes are salted anew in every run directory and are left out of the comparison; everything
else is compared to the byte.
"""

import csv
import hashlib
import io
import json
import math
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mammojax.errors import UserError
from mammojax.runs import stages, stopping, supervised

TABLE = ("cells.json", "folds.json", "predictions.csv", "table.json", "table.md")
CELL = ("calibration.json", "metrics.jsonl", "model.safetensors", "predictions.csv", "selection.json")
SALTED = ("patient", "breast")
SAID = ("resumed after", "are there already", "is set aside", "begun anew", "taking a part", "is made again")
DAMAGES = ("emptied", "truncated", "flipped", "removed")
PHASES = (  # the first that is not finished when a process is killed
    ("the films are made", "dicom/*/stage.json"),
    ("prepare", "prepared/*/stage.json"),
    ("scan", "representations/*/stage.json"),
    ("train", "cells.json"),
    ("evaluate", "report.html"),
)


@dataclass
class Survival:
    """What a soak has seen. seconds: of the undisturbed run. rounds: runs that were killed until they were done. altered: by
    (damage, kind of file). differing: names of files whose bytes are not those of the undisturbed run."""

    seconds: float = 0.0
    rounds: int = 0
    starts: int = 0
    phases: Counter = field(default_factory=Counter)
    resumes: Counter = field(default_factory=Counter)
    altered: Counter = field(default_factory=Counter)
    codes: Counter = field(default_factory=Counter)
    differing: list[str] = field(default_factory=list)


def soak(
    work: Callable[[Path, Callable[[str], None]], None],
    folder: Path,
    *,
    kills: int,
    processes: Sequence[int] = (1, 2),
    seed: int = 0,
    alter: float = 0.5,
    say: Callable[[str], None],
) -> Survival:
    """Runs work(run directory, say) undisturbed and then, for each number of `processes`, killed `kills` times in all.

    A kill is SIGKILL or, one in four, SIGTERM, at a random moment; on the average a process has a quarter of the time that
    the undisturbed run took. What is done is compared and begun again in a new run directory until so many kills were made.
    alter: the share of kills after which a file of an unfinished fit, if there is one, is emptied, truncated, flipped or
    removed. A child whose work is done ends with 0. Raises UserError if the undisturbed one does not.
    """
    draw, seen = random.Random(seed), Survival()
    began = time.monotonic()
    if code := _end(_start(work, place := folder / "undisturbed")):
        raise UserError(
            f"the undisturbed run ended with code {code}; its last lines are in {place.with_suffix('.log')}"
        )
    seen.seconds = time.monotonic() - began
    say(f"undisturbed: {seen.seconds:.1f} s")
    expected = contents(folder / "undisturbed")
    for k, number in enumerate(processes):
        left, rounds = len(range(k, kills, len(processes))), 0
        while left or not rounds:
            place = folder / f"by_{number}" / str(rounds)
            left -= (made := _killed(work, place, number, left, draw, seen, alter))
            rounds += 1
            found = contents(place)
            differing = sorted(
                name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
            )
            seen.differing += [f"by_{number}/{place.name}/{name}" for name in differing]
            say(
                f"{number} at a time, run {rounds}: {made} kills, {len(differing)} files differ; {left} kills left"
            )
            for line in place.with_suffix(".log").read_text().splitlines():
                for words in SAID:
                    seen.resumes[words] += words in line
            if not differing:
                shutil.rmtree(place)
        seen.rounds += rounds
    return seen


def _killed(
    work: Callable, place: Path, number: int, kills: int, draw: random.Random, seen: Survival, alter: float
) -> int:
    """The kills that were made, at most so many, until the work was done; after the last one nobody disturbs it."""
    running, made = [], 0
    mean = seen.seconds / (4 * number)
    while True:
        seen.starts += number - len(running)
        running += [_start(work, place) for _ in range(number - len(running))]
        seconds = min(draw.expovariate(1 / mean), 8 * mean) if made < kills else math.inf
        if _somebody_ended(running, seconds):
            if any(codes := [_end(child) for child in running]):
                raise RuntimeError(
                    f"undisturbed at last, processes end with {codes}; see {place.with_suffix('.log')}"
                )
            return made
        seen.phases[_phase(place)] += 1
        victim = running.pop(draw.randrange(number))
        os.kill(victim, signal.SIGTERM if draw.random() < 0.25 else signal.SIGKILL)
        seen.codes[_end(victim)] += 1
        made += 1
        if draw.random() < alter and number == 1:  # nobody reads it meanwhile
            _alter(place, draw, seen)


def contents(folder: Path) -> dict[str, str]:
    """{name: sha256} of all that a cross-validation leaves for its readers, without what is salted or names the place."""
    paths = [folder / name for name in TABLE]
    paths += sorted(p for p in folder.glob("cells/*/*") if p.name in CELL and ".damaged" not in p.parent.name)
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(_unsalted(p)).hexdigest()
        for p in paths
        if p.is_file()
    }


def _unsalted(path: Path) -> bytes:
    if path.name == "cells.json":  # the settings beside the index name the run directory itself
        return repr({k: v for k, v in json.loads(path.read_bytes()).items() if k != "config"}).encode()
    if path.suffix != ".csv":
        return path.read_bytes()
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    return repr([{k: v for k, v in row.items() if k not in SALTED} for row in rows]).encode()


def _start(work: Callable, place: Path) -> int:
    """Process number of a fork that does the work; what it says goes to the log beside `place`."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        supervised.end_with(parent)
        place.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(place.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(log, 1)
        os.dup2(log, 2)

        def say(line: str) -> None:
            os.write(1, f"{os.getpid()}: {line}\n".encode())

        stopping.listen(say=say)
        work(place, say)
        code = 0
    except stopping.Stopped:
        code = stopping.EXIT_CODE
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _end(child: int) -> int:
    with stopping.waiting():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _somebody_ended(running: list[int], seconds: float) -> bool:
    """Whether a child ended within so many seconds, its work done; it is taken off the list."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        stopping.check()
        for child in running:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(status)
                if code == stopping.EXIT_CODE:
                    raise stopping.Stopped  # the request was to all of us
                if code:
                    raise RuntimeError(f"a process that nobody killed ended with {code}")
                running.remove(child)
                return True
        time.sleep(0.05)
    return False


def _phase(place: Path) -> str:
    return next((name for name, pattern in PHASES if not any(place.glob(pattern))), "done")


def _alter(place: Path, draw: random.Random, seen: Survival) -> None:
    """Damages one file of an unfinished fit, if there is one: in the way, and of the kind, that came least often so far."""
    left = ("checkpoints/*/**/*", "watched/*", "metrics.jsonl")
    files = sorted(p for name in left for p in place.glob(f"cells/*/{stages.WORK}/**/{name}") if p.is_file())
    if not files:
        return
    how = min(DAMAGES, key=lambda how: (_times(seen, how=how), draw.random()))
    path = min(files, key=lambda path: (_times(seen, how=how, kind=_kind(path)), draw.random()))
    data = bytearray(path.read_bytes())
    if how == "removed":
        path.unlink()
    else:
        if how == "flipped" and data:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes({"emptied": b"", "truncated": bytes(data[:-1]), "flipped": bytes(data)}[how])
    seen.altered[how, _kind(path)] += 1


def _kind(path: Path) -> str:
    """A file of a fit by its name; data files have random ones, scores of watched samples the epoch's."""
    return {"d": "data", "watched": "watched"}.get(path.parent.name, path.name)


def _times(seen: Survival, *, how: str, kind: str = "") -> int:
    return sum(n for (done, name), n in seen.altered.items() if done == how and kind in ("", name))
