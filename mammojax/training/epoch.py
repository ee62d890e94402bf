"""An epoch over maps that lie on the device: on an accelerator one compiled loop, elsewhere a step after the other."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from mammojax.runs.devices import gathered
from mammojax.training.objectives import Objective
from mammojax.training.optimizer import Optimizer
from mammojax.training.step import Batch, Maps, Report, TrainState, compiled_step, one_step, taken


def epoch_report(reports: Sequence[Report]) -> Report:
    """The reports of an epoch's steps as one, arrays [steps]; scores [steps, b] where every step has them."""
    names = [n for n in Report._fields if n != "scores" or all(r.scores is not None for r in reports)]
    return Report(**{"scores": None, **{n: jnp.stack([getattr(r, n) for r in reports]) for n in names}})


def compiled_epoch(graph, optimizer: Optimizer, objective: Objective, mesh=None, shard: int = 0) -> Callable:
    """epoch(state, batches, maps) -> (state, Report of [steps]): all steps of an epoch over maps on the device.

    batches: a `Batch` of arrays [steps, b] whose inputs are rows of `maps`. The state is donated. On an accelerator an
    epoch is one compiled loop; on a CPU it is a step after the other, since XLA computes convolutions inside a loop with
    one thread and without its fast kernels (15 times slower, measured with the paper's classifier). On a mesh too it is a
    step after the other. mesh, shard: see `compiled_step`.
    """
    if mesh is None and jax.default_backend() != "cpu":
        return _looped(graph, optimizer, objective)
    step = compiled_step(graph, optimizer, objective, mesh, shard)

    def epoch(state: TrainState, batches: Batch, maps: Maps):
        reports = []
        for k in range(len(batches.labels)):
            one = Batch(*(None if part is None else part[k] for part in batches))
            state, report = step(state, (one,), maps)
            reports.append(report)
        whole = epoch_report(reports)
        return state, whole._replace(scores=gathered(whole.scores, mesh))

    return epoch


@functools.lru_cache(maxsize=64)
def _looped(graph, optimizer: Optimizer, objective: Objective) -> Callable:
    @functools.partial(jax.jit, donate_argnums=0)
    def epoch(state: TrainState, batches: Batch, maps: Maps):
        def step(state, batch):
            return one_step(graph, optimizer, objective, state, taken(batch, maps))

        return jax.lax.scan(step, state, batches)

    return epoch
