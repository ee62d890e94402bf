"""The compiled programs of a scan, a plan each: while the device reads crops of one plan, the next one is compiled.

A set of films has some ten to twenty plans and a program takes seconds to compile on one core, as long as a dozen films.
"""

import functools
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from mammojax.runs.devices import ROWS, everywhere, padded_to


@functools.cache
def compiled_scan():
    """scan(graph, state, pixels, plan, precision, mesh=None) -> maps, compiled once for each of graph, plan, precision, mesh."""
    import jax
    from flax import nnx

    from mammojax.models.scanning import scan
    from mammojax.models.sharding import scan_sharded

    def program(graph, state, inputs, plan, precision, mesh=None):
        network, dtype = nnx.merge(graph, state), np.dtype(precision)
        if mesh is None or mesh.shape[ROWS] == 1:
            return scan(network, inputs, plan, dtype=dtype)
        return scan_sharded(network, inputs, plan, mesh, dtype=dtype)

    return jax.jit(program, static_argnums=(0, 3, 4, 5))


class Programs:
    """What reads batches of pixels under their plans.

    plans: in the order in which they will be asked for; others are compiled when they come. batch: images a step, rounded
    up to what the mesh divides. precision, mesh: see `scan_records`.
    """

    def __init__(self, network, plans: Sequence, *, batch: int, precision: str, mesh):
        from flax import nnx

        self.batch = padded_to(batch, mesh)
        self._plans, self._precision, self._mesh = tuple(plans), precision, mesh
        self._graph, self._state = nnx.split(network)
        if mesh is not None:
            self._state = everywhere(self._state, mesh)
        self._ahead = ThreadPoolExecutor(1)
        self._made: dict[object, Future] = {}

    def __call__(self, plan, pixels: np.ndarray):
        """float32[batch, rows, columns, c]: the maps of pixels float32[batch, H, W, 1], on their way."""
        from mammojax.models.sharding import place_rows

        if self._mesh is not None:
            placed = place_rows(pixels, self._mesh)
            return compiled_scan()(self._graph, self._state, placed, plan, self._precision, self._mesh)
        program = self._program(plan).result()
        for other in self._plans[self._plans.index(plan) + 1 :][:1] if plan in self._plans else ():
            self._program(other)
        return program(self._state, pixels)

    def _program(self, plan) -> Future:
        if plan not in self._made:
            self._made[plan] = self._ahead.submit(self._compiled, plan)
        return self._made[plan]

    def _compiled(self, plan):
        import jax

        pixels = jax.ShapeDtypeStruct((self.batch, *plan.input_shape, 1), np.float32)
        return compiled_scan().lower(self._graph, self._state, pixels, plan, self._precision).compile()
