"""Seconds of a cross-validation, from the films to the report, by processes of one core each: by one, and by several."""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from mammojax.benchmarks.step.processes import cores
from mammojax.settings import Settings, defaults, from_mapping, with_overrides

_STUDY = {  # of a size at which what is shared out outweighs what every process does for itself, its start
    "data.name": "phantom",
    "data.workers": 0,
    "data.phantom.height": 768,
    "data.phantom.width": 576,
    "training.epochs": 4,
    "training.inner": 2,
    "crossval.folds": 4,
    "crossval.resamples": 200,
    "crossval.arms": "bce,auc,cells_bce",
}


class Shared(NamedTuple):
    """Seconds of the whole by one process, and by `processes` that share it."""

    processes: int
    alone: float
    together: float

    @property
    def share(self) -> float:
        return self.together / self.alone


def shared(*, processes: int, patients: int) -> Shared:
    """A cross-validation of phantoms, four films a patient that are made beforehand, three arms on four folds. Each time it
    is begun from nothing; the start of Python and what is compiled are in it.

    processes: pinned to a core each. Raises ValueError for more processes than cores, RuntimeError where one fails.
    """
    own = cores(processes)
    settings = with_overrides(from_mapping(defaults()), {**_STUDY, "data.phantom.patients": patients})
    with tempfile.TemporaryDirectory() as folder:
        settings = with_overrides(settings, {"data.source": f"{folder}/films"})
        _make_films(settings, Path(folder))
        return Shared(
            processes,
            *(
                _seconds(with_overrides(settings, {"run": f"{folder}/by_{number}"}), own[:number])
                for number in (1, processes)
            ),
        )


def _make_films(settings: Settings, folder: Path) -> None:
    from mammojax.datasets.prepare import sources

    phantom = {**asdict(settings.data.phantom), "seed": settings.seed}
    sources("phantom", Path(settings.data.source), folder, options=phantom)


def _seconds(settings: Settings, own: Sequence[int]) -> float:
    context = multiprocessing.get_context("spawn")
    began = time.perf_counter()
    running = [context.Process(target=_crossval, args=(settings, core), daemon=True) for core in own]
    for process in running:
        process.start()
    for process in running:
        process.join()
    if failed := [process.exitcode for process in running if process.exitcode]:
        raise RuntimeError(f"a process of the cross-validation ended with {failed[0]}; what it said is above")
    return time.perf_counter() - began


def _crossval(settings: Settings, core: int) -> None:
    os.sched_setaffinity(0, {core})  # before JAX counts its threads
    from mammojax.experiment import crossval
    from mammojax.report.run import evaluate

    run = crossval(settings, say=lambda line: None)
    evaluate(run.directory, command="launch.benchmark_step")
