"""Memory of one scan and of one training step of a whole image: as the compiler states it, and the process's peak."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

from mammojax.benchmarks.scan.programs import compile_program, network_to_measure
from mammojax.benchmarks.timing import Unavailable, memory_peak, timed
from mammojax.models.plans import plan


class Memory(NamedTuple):
    """stated: bytes of the compiled program's arguments, results and temporaries. peak: bytes of the process while it ran,
    the interpreter and its libraries included. Each None where nothing tells. seconds: of the run. plan: a line.
    """

    stated: int | None
    peak: int | None
    seconds: float
    plan: str


def measured_alone(program: str, backbone: str, crop_shape: tuple[int, int], cells: int) -> Memory:
    """One run of a program of `scan_programs`, batch 1, float32, in a process of its own: peaks do not mix.

    Raises Unavailable if that process dies, as it does where memory does not suffice.
    """
    own = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=own) as pool:
        try:
            return pool.submit(_measured, program, backbone, crop_shape, cells).result()
        except BrokenProcessPool as error:
            raise Unavailable("its process was ended; most often memory does not suffice") from error


def _measured(program, backbone, crop_shape, cells) -> Memory:
    network = network_to_measure(backbone)
    chosen = plan(crop_shape, network.backbone, cells)
    compiled = compile_program(program, network, chosen)
    del network  # a step trains its own copy
    seconds, _, peak = memory_peak(lambda: timed(compiled.call))
    return Memory(compiled.stated, peak, seconds, chosen.describe())
