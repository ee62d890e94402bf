"""Work on many files: in this process, in children that a damaged file may kill, shared out among several processes."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mammojax.images.reading.isolated import in_children
from mammojax.runs import locks, stopping

_PIECE = 32  # jobs that a process claims at a time


def results(function: Callable, jobs: Iterable[tuple], *, workers: int) -> Iterator[tuple[int, Any]]:
    """(number of the job, function(*job)) of every job, in any order; `CRASHED` where a job killed its child.

    workers: children, 0 for none. See `in_children`.
    """
    if workers:
        yield from in_children(function, jobs, workers=workers)
    else:
        for number, job in enumerate(jobs):
            yield number, function(*job)


def shared_results(
    function: Callable,
    jobs: Sequence[tuple],
    *,
    done: Callable[[int], bool],
    stage: Path,
    workers: int,
    wait: bool = True,
    piece: int = _PIECE,
    pause: float = 1.0,
) -> Iterator[tuple[int, Any]]:
    """`results` of the jobs that this process does, of those that processes with the same jobs share out by lock.

    done(number): whether a job's result is on the disk; once a result was yielded it must be. stage: the folder of the
    stage that the jobs belong to. wait: go on until all are done, taking over, every `pause` seconds, from processes
    that died; otherwise leave what others hold. piece: jobs that a process claims at a time.
    """
    pieces = [range(k, min(k + piece, len(jobs))) for k in range(0, len(jobs), piece)]
    left = list(range(len(pieces)))
    with contextlib.ExitStack() as everything:
        while left:
            held: dict[int, tuple[set[int], contextlib.ExitStack]] = {}
            busy: list[int] = []
            taken: list[int] = []

            def claimed(left=left, held=held, busy=busy, taken=taken) -> Iterator[tuple]:
                for k in left:
                    lock = everything.enter_context(contextlib.ExitStack())
                    path = stage.with_name(f"{stage.name}.files {k}")
                    if not lock.enter_context(locks.try_locked(path)):
                        busy.append(k)
                        continue
                    todo = [number for number in pieces[k] if not done(number)]
                    if not todo:
                        lock.close()
                        continue
                    held[k] = set(todo), lock
                    for number in todo:
                        taken.append(number)
                        yield jobs[number]

            for k, outcome in results(function, claimed(), workers=workers):
                yield taken[k], outcome
                waits_for, lock = held[taken[k] // piece]
                waits_for.discard(taken[k])
                if not waits_for:
                    lock.close()
            left = busy
            if not wait:
                return
            if left:
                with stopping.waiting():
                    time.sleep(pause)
