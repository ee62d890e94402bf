"""How preparation, index, folds and accounts grow with the number of records: small pictures, one process a size."""

import csv
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mammojax.datasets import accounts
from mammojax.datasets.folds import stratified_folds
from mammojax.datasets.prepare import prepare
from mammojax.datasets.record import RecordSet
from mammojax.datasets.samples import samples
from mammojax.settings.tree import Folder

STEPS = ("prepare", "open the index", "group and draw folds", "read the accounts")
SIDES = (96, 72)  # rows, columns


@dataclass(frozen=True)
class Grown:
    """records: of the set. seconds: by step. peak: largest memory of the process, bytes."""

    records: int
    seconds: dict[str, float]
    peak: int


def grown(numbers: Sequence[int], *, seed: int) -> list[Grown]:
    """One measurement for each of `numbers` of records, each in a process of its own, so that memory is its own too."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        return [pool.apply(_measured, (number, seed)) for number in numbers]


def _measured(number: int, seed: int) -> Grown:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        _make(source, number, seed)
        seconds = {}
        began = time.perf_counter()
        found = prepare("folder", source, Path(folder) / "prepared", options=vars(Folder()), workers=0)
        seconds["prepare"] = time.perf_counter() - began
        began = time.perf_counter()
        records = RecordSet(found.directory)
        seconds["open the index"] = time.perf_counter() - began
        began = time.perf_counter()
        grouped = samples(records, "breast")
        stratified_folds(grouped.patients, grouped.labels, folds=5, seed=seed)
        seconds["group and draw folds"] = time.perf_counter() - began
        began = time.perf_counter()
        accounts.counts(accounts.read_accounts(found.directory))
        seconds["read the accounts"] = time.perf_counter() - began
        assert len(records) == number
    return Grown(number, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _make(folder: Path, number: int, seed: int) -> None:
    """Pictures that differ, four a patient, and their table."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SIDES[0], : SIDES[1]]
    breast = 180.0 * (((rows - SIDES[0] / 2) / 40) ** 2 + (columns / 55) ** 2 < 1)
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "patient", "label", "laterality", "view"))
        for k in range(number):
            noise = rng.integers(0, 20, SIDES)
            Image.fromarray((breast + noise).astype(np.uint8)).save(folder / f"{k}.png", compress_level=1)
            table.writerow((f"{k}.png", k // 4, k // 4 % 3 == 0, "LR"[k % 2], ("CC", "MLO")[k // 2 % 2]))
