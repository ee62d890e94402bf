"""Scores of a model in evaluation mode, by one compiled function for all states of one form."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from mammojax.runs.devices import spans_processes
from mammojax.training import spreading
from mammojax.training.step import Batch, forward, taken


@functools.lru_cache(maxsize=64)
def _compiled_scores(graph, mesh=None):
    # of several processes each reads all scores
    whole = {"out_shardings": NamedSharding(mesh, PartitionSpec())} if spans_processes(mesh) else {}

    @functools.partial(jax.jit, static_argnums=3, **whole)
    def scores(params, rest, batch, plan, maps):
        batch = taken(batch, maps)._replace(plan=plan)
        params = spreading.whole(params, mesh)
        return forward(nnx.merge(graph, params, rest, copy=True), batch, jnp.float32(1))

    return scores


def make_scorer(model: nnx.Module, mesh=None) -> Callable:
    """score(params, rest, batch, maps=None) -> float32[b] in evaluation mode (no dropout), for a state's variables. mesh:
    that they lie on, over whose axis `data` the batch is spread."""
    model.eval()
    graph, _, _ = nnx.split(model, nnx.Param, ...)
    model.train()
    compiled = _compiled_scores(graph, mesh)

    def score(params, rest, batch, maps=None):
        size = len(batch.inputs)
        arrays = batch._replace(plan=None) if mesh is None else spreading.spread(batch, mesh)
        return np.asarray(compiled(params, rest, arrays, batch.plan, maps))[:size]

    return score


def model_scorer(model: nnx.Module) -> Callable[[Batch], np.ndarray]:
    """score(batch) -> float32[b] of a model in evaluation mode."""
    score = make_scorer(model)
    _, params, rest = nnx.split(model, nnx.Param, ...)
    model.eval()
    return lambda batch: score(params, rest, batch)
