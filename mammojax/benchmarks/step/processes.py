"""Images a second of a scan by processes of one core each: alone, and several at once."""

import multiprocessing
import os
import time
from typing import NamedTuple

import numpy as np


class Throughput(NamedTuple):
    """Images a second: of one process alone, and of `processes` at once in all."""

    processes: int
    alone: float
    together: float

    @property
    def ratio(self) -> float:
        return self.together / self.alone


def cores(number: int) -> list[int]:
    """So many of the cores that this process may use; ValueError if there are fewer."""
    found = sorted(os.sched_getaffinity(0))
    if number > len(found):
        raise ValueError(f"{number} processes of one core, and {len(found)} core(s) may be used")
    return found[:number]


def throughput(*, processes: int, crop: tuple[int, int], images: int, repeats: int) -> Throughput:
    """The scan of EfficientNet-Lite0 by processes that are pinned to a core each; the best of `repeats` turns of one alone
    and all at once. Reading files is left out.

    Raises ValueError for more processes than cores.
    """
    context = multiprocessing.get_context("spawn")
    workers = []
    for core in cores(processes):
        here, there = context.Pipe()
        process = context.Process(target=_scan, args=(core, crop, images, there), daemon=True)
        process.start()
        workers.append((process, here))
    for _, pipe in workers:
        pipe.recv()  # compiled
    alone, together = [], []
    for _ in range(repeats):
        alone.append(_seconds(workers[:1]))
        together.append(_seconds(workers))
    for process, pipe in workers:
        pipe.send(False)
        process.join()
    return Throughput(processes, images / min(alone), processes * images / min(together))


def _seconds(workers) -> float:
    began = time.perf_counter()
    for _, pipe in workers:
        pipe.send(True)
    for _, pipe in workers:
        pipe.recv()
    return time.perf_counter() - began


def _scan(core: int, crop: tuple[int, int], images: int, pipe) -> None:
    os.sched_setaffinity(0, {core})  # before JAX counts its threads
    from mammojax.models.plans import plan
    from mammojax.models.scanning import load_backbone
    from mammojax.representations.programs import Programs

    network = load_backbone("efficientnet_lite0")
    made = plan(crop, network.backbone, 15, tap=network.tap)
    scan = Programs(network, (made,), batch=1, precision="float32", mesh=None)  # as a scan has it
    pixels = np.random.default_rng(0).uniform(size=(1, *made.input_shape, 1)).astype(np.float32)
    np.asarray(scan(made, pixels))
    pipe.send("compiled")
    while pipe.recv():
        for _ in range(images):
            np.asarray(scan(made, pixels))
        pipe.send("done")
