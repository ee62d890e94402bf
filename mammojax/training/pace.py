"""How fast a training goes: steps and examples a second, how long it waits for data, the devices' memory; and a profile.

Clocks say something else each time, and metrics.jsonl is to be the same to the byte: so this is a file of its own, one line
an epoch. Nothing is measured that makes a device wait: an epoch's numbers are read where its losses are.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import jax


class Pace:
    """Of the trainings of a run, one after the other. file: one JSON object a line is appended to it; None for none.

    profile: (first, last) optimiser steps of this process that JAX's profiler records, None for none; into `profiles`, a
    folder beside the file. Where the steps of an epoch are one part, whole epochs. Fits that are one compiled loop (heads at
    once) have no steps here.
    """

    def __init__(
        self,
        file: Path | None = None,
        *,
        profile: tuple[int, int] | None = None,
        say: Callable[[str], None] = lambda text: None,
    ):
        self._file, self._profile, self._say = file, profile, say
        self._taken, self._recording, self._first = 0, False, 0
        self._at_once = 1  # steps that are handed over together: those of an epoch where it is one part
        self._waited = self._began = 0.0
        self._steps = self._examples = 0

    def waited(self, items: Iterable) -> Iterator:
        """The same items; the time until each of them is there counts as waiting for data."""
        remaining = iter(items)
        while True:
            began = time.perf_counter()
            try:
                item = next(remaining)
            except StopIteration:
                return
            finally:
                self._waited += time.perf_counter() - began
            yield item

    def begin(self) -> None:
        """An epoch begins."""
        self._waited, self._steps, self._examples = 0.0, 0, 0
        self._began = time.perf_counter()
        if self._profile and not self._recording and self._taken + self._at_once > self._profile[0]:
            self._record()

    def took(self, steps: int, examples: int) -> None:
        """So many steps were handed to the devices."""
        self._steps, self._examples = self._steps + steps, self._examples + examples
        self._taken, self._at_once = self._taken + steps, steps
        if not self._profile:
            return
        first, last = self._profile
        if self._recording and self._taken >= last:
            self.close()
        elif not self._recording and first <= self._taken < last:
            self._record()

    def ended(self) -> dict[str, float]:
        """The numbers of the epoch, once its results are there: seconds a step, steps and examples a second, the share of
        the time that was spent waiting for data; peak bytes of the first device, where it says them."""
        seconds = max(time.perf_counter() - self._began, 1e-9)
        numbers = {
            "seconds_a_step": seconds / max(self._steps, 1),
            "steps_a_second": self._steps / seconds,
            "examples_a_second": self._examples / seconds,
            "waiting_for_data": self._waited / seconds,
        }
        peak = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
        return numbers if peak is None else {**numbers, "device_bytes": float(peak)}

    def write(self, what: str, epoch: int, step: int, **numbers: float) -> None:
        """Appends a line; several processes may."""
        if self._file is None:
            return
        line = {"fit": what, "process": os.getpid(), "time": time.time(), "epoch": epoch, "step": step}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **numbers}) + "\n")

    def close(self) -> None:
        """Ends a profile that is being recorded."""
        if self._recording:
            jax.profiler.stop_trace()
            self._recording, self._profile = False, None
            self._say(
                f"profile of the steps {self._first} to {self._taken}: {self._file.parent / 'profiles'}"
            )

    def over(self) -> None:
        """No training comes any more: says so where there is no profile of one."""
        if self._profile:
            first, last = self._profile
            self._say(
                f"no profile of the steps {first} to {last}: {self._taken} were taken; what is reused, or fitted at once, has none"
            )

    def _record(self) -> None:
        jax.profiler.start_trace(str(self._file.parent / "profiles"))
        self._recording, self._first = True, self._taken
