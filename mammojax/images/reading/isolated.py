"""Reading in a child process: a damaged compressed file can kill a decoder together with the process it runs in."""

import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from mammojax.images.breast import Crop, crop_breast
from mammojax.images.mammogram import Mammogram, Rejected
from mammojax.images.reading.any_file import read_mammogram

CRASHED = "the decoder crashed on this file"


def read_crop(path: Path, margin: float, for_processing: str) -> tuple[Mammogram, Crop] | str:
    """The mammogram and its breast crop, or the reason why the file cannot be used."""
    try:
        mammogram = read_mammogram(path.read_bytes(), path.name, for_processing=for_processing)
        return mammogram, crop_breast(mammogram, margin=margin)
    except Rejected as reason:
        return str(reason)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def read_crops(
    paths: Sequence[Path], *, margin: float, for_processing: str
) -> Iterator[tuple[Mammogram, Crop] | str]:
    """What `read_crop` returns for every path, in order, read one file ahead in a child process. A file that kills the
    child gets `CRASHED`, and the rest goes on in a fresh one."""
    waiting = deque(paths)
    while waiting:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                jobs = deque(
                    pool.submit(read_crop, path, margin, for_processing) for path in list(waiting)[:2]
                )
                while waiting:
                    found = jobs.popleft().result()
                    waiting.popleft()
                    yield found
                    if len(waiting) > 1:
                        jobs.append(pool.submit(read_crop, waiting[1], margin, for_processing))
            except BrokenProcessPool:
                waiting.popleft()  # the one that was being read
                yield CRASHED
