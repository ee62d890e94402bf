"""What any process of a program asks for (to stop, to save), known to all of them after the same step.

Processes that train together must save and stop together, and neither signals nor clocks reach them at one moment. So
each casts its votes after every step, a small sum behind that step in the devices' queue, and reads those of the step
before, which are there already: no device waits for the host.
"""

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from mammojax.runs.devices import DATA, ROWS, spans_processes


class Votes:
    """Of `number` questions. mesh: of the program; a process by itself decides at once."""

    def __init__(self, number: int, mesh=None):
        self._number, self._mesh, self._before = number, mesh, None
        self.together = spans_processes(mesh)
        if self.together:
            self._spread = NamedSharding(mesh, PartitionSpec((DATA, ROWS)))
            self._any = jax.jit(lambda x: x.max(0), out_shardings=NamedSharding(mesh, PartitionSpec()))

    def cast(self, *wanted: bool) -> tuple[bool, ...]:
        """What any process wanted when it cast before this; nothing the first time. Without others, what is wanted now."""
        if not self.together:
            return wanted
        before, self._before = self._before, self._sum(wanted)
        return (False,) * self._number if before is None else _read(before)

    def settled(self, *wanted: bool) -> tuple[bool, ...]:
        """What any process wants, now or when it cast before; all wait for all."""
        if not self.together:
            return wanted
        before, self._before = self._before, None
        votes = [self._sum(wanted)] + ([] if before is None else [before])
        return tuple(any(answers) for answers in zip(*map(_read, votes)))

    def _sum(self, wanted):
        shape = (self._mesh.size, self._number)
        own = np.asarray(wanted, np.int32)
        votes = jax.make_array_from_callback(
            shape, self._spread, lambda index: np.broadcast_to(own, shape)[index]
        )
        return self._any(votes)


def _read(votes) -> tuple[bool, ...]:
    return tuple(bool(vote) for vote in np.asarray(votes))
