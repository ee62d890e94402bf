"""Work on many files: in this process, or in children that a damaged file may kill."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mammojax.images.reading.isolated import in_children


def results(function: Callable, jobs: Sequence[tuple], *, workers: int) -> Iterator[tuple[int, Any]]:
    """(number of the job, function(*job)) of every job, in any order; `CRASHED` where a job killed its child.

    workers: children, 0 for none. See `in_children`.
    """
    if workers:
        yield from in_children(function, jobs, workers=workers)
    else:
        for number, job in enumerate(jobs):
            yield number, function(*job)
