"""How programs are measured: time in turns, the peak of the process, and on which device."""

import contextlib
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import jax

SPUN_DOWN = 0.1  # seconds after which no other program's idle threads are awake


class Unavailable(Exception):
    """Why a program cannot be run here, for the reader of the table."""


def timed(call: Callable[[], object], loops: int = 1) -> float:
    """Seconds of one call, the mean of `loops`."""
    start = time.perf_counter()
    for _ in range(loops):
        call()
    return (time.perf_counter() - start) / loops


def best_of(
    calls: dict[str, Callable[[], object]], repeats: int, budget: float
) -> dict[str, tuple[float, int]]:
    """program -> (seconds of its best repeat, repeats), in turns: what slows the machine down meets all alike.

    repeats: at most so many. budget: seconds for all repeats of a program. Short calls are repeated within a repeat.
    """
    once = {name: timed(call) for name, call in calls.items()}
    loops = {name: min(1000, max(1, int(5e-3 / seconds))) for name, seconds in once.items()}
    rounds = {n: min(repeats, max(1, int(budget / (seconds * loops[n])))) for n, seconds in once.items()}
    best = dict(once)
    for turn in range(max(rounds.values(), default=0)):
        for name, call in calls.items():
            if turn < rounds[name]:
                if once[name] < SPUN_DOWN:  # threads of the program before may still spin on the cores
                    call()
                best[name] = min(best[name], timed(call, loops[name]))
    return {name: (best[name], rounds[name]) for name in calls}


def in_turns(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """program -> seconds of each of its `repeats` calls, A B A B after one call of each that is not counted."""
    for call in calls.values():
        call()
    seconds = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            seconds[name].append(timed(call))
    return seconds


def device_name() -> str:
    """The device that JAX computes on; of a CPU its model and the number of cores that may be used."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{device.platform} {device.device_kind}"
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"cpu {model}, {cores} cores"


def available_bytes() -> float:
    """Memory that may be filled: half of what is free on the device."""
    stats = jax.devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    if stats and "bytes_limit" in stats:
        return (stats["bytes_limit"] - stats.get("bytes_in_use", 0)) / 2
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024 / 2
    except (OSError, StopIteration):
        return 4e9


def memory_growth(call: Callable[[], object]) -> tuple[object, int | None]:
    """(result, bytes by which the peak of the process lies above its size before); None where Linux does not say."""
    result, before, peak = memory_peak(call)
    return result, None if peak is None else max(0, peak - before)


def memory_peak(call: Callable[[], object]) -> tuple[object, int | None, int | None]:
    """(result, bytes of the process before, at its peak during the call); None where Linux does not say."""

    def status(field):
        return int(Path("/proc/self/status").read_text().partition(field)[2].split()[0]) * 1024

    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = status("VmRSS:")
    except (OSError, IndexError, ValueError):
        return call(), None, None
    result = call()
    return result, before, status("VmHWM:")
