"""Small heads on whole training sets: many networks at once, every step one gradient over all samples.

The maps of all samples lie on the device once, whoever trains on which of them: networks of one data set (inner folds,
seeds) differ in a mask and in their parameters, and share every pass over the maps, which is what such a head costs.
The whole fit is one compiled loop.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mammojax.training.objectives import Objective
from mammojax.training.optimizer import Optimizer
from mammojax.training.step import Batch, Maps, TrainState, forward, one_step, start, taken


class FullFit(NamedTuple):
    """Of K networks, evaluated E times: epochs int[E], scores float32[E, K, n] of all samples in evaluation mode, loss and
    penalty float32[E, K] (means since the evaluation before), and the networks' kept parameters (leaves [E, K, ...])."""

    epochs: np.ndarray
    scores: np.ndarray
    loss: np.ndarray
    penalty: np.ndarray
    params: nnx.State


def fit_full(
    models: Sequence[nnx.Module],
    objective: Objective,
    optimizer: Optimizer,
    maps: Maps,
    labels: np.ndarray,
    members: np.ndarray,
    *,
    epochs: int,
    evaluate_every: int = 1,
    seeds: Sequence[int] | None = None,
    rates: Sequence[float] | None = None,
    decays: Sequence[float] | None = None,
    weights: np.ndarray | None = None,
) -> FullFit:
    """Trains K networks of one form for `epochs` steps of the whole training set.

    models: K modules that differ in parameters and random streams alone. maps: of all n samples. labels: int[n].
    members: bool[K, n], the training samples of each. epochs: of the optimiser's schedule or less; evaluated every
    `evaluate_every` of them and at the end. seeds: K, of what an objective draws by chance. rates, decays: float[K], the
    learning rate and the lambda of each network, in place of the optimiser's: a grid of them is one program. weights:
    float32[K, n], what a sample counts in the loss of each network; None: 1 each.
    """
    members = np.asarray(members, bool)
    graph, states = None, []
    seeds = [0] * len(models) if seeds is None else seeds
    for model, chosen, seed in zip(models, members, seeds, strict=True):
        graph, state = start(model, optimizer, objective, labels=labels[chosen], seed=seed)
        chance, shared = nnx.split_state(state.rest, nnx.RngState, ...)
        states.append(state._replace(rest=chance))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    models[0].eval()
    evaluated, _, _ = nnx.split(models[0], nnx.Param, ...)
    every = min(evaluate_every, epochs)
    full, rest = divmod(epochs, every)
    run = functools.partial(_compiled(graph, evaluated, optimizer, objective), shared=shared, maps=maps)
    own = {"learning_rate": rates, "regularisation": decays}
    own = {name: jnp.asarray(values, jnp.float32) for name, values in own.items() if values is not None}
    kept = {"where": jnp.asarray(members)}
    if weights is not None:
        kept["weights"] = jnp.asarray(weights, jnp.float32)
    batch = (jnp.asarray(labels, jnp.int32), kept, own)
    stacked, found = run(stacked, *batch, every=every, times=full)
    parts = [found]
    if rest:
        stacked, last = run(stacked, *batch, every=rest, times=1)
        parts.append(last)
    scores, params, loss, penalty = jax.tree.map(lambda *x: np.concatenate(x), *jax.device_get(parts))
    reached = [every * (k + 1) for k in range(full)] + ([epochs] if rest else [])
    return FullFit(np.asarray(reached), scores, loss, penalty, params)


@functools.lru_cache(maxsize=32)
def _compiled(graph, evaluated, optimizer: Optimizer, objective: Objective):
    @functools.partial(jax.jit, static_argnames=("every", "times"))
    def run(states: TrainState, labels, kept, own, *, shared, maps: Maps, every: int, times: int):
        everything = taken(Batch(None, labels, jnp.arange(len(labels)), None), maps)

        def one(state, kept, own):
            mine = dataclasses.replace(optimizer, **own)
            whole = state._replace(rest=nnx.merge_state(state.rest, shared))
            whole, report = one_step(graph, mine, objective, whole, everything._replace(**kept))
            chance, _ = nnx.split_state(whole.rest, nnx.RngState, ...)
            return whole._replace(rest=chance), (report.loss, report.penalty)

        def score(state):
            model = nnx.merge(evaluated, state.kept, nnx.merge_state(state.rest, shared))
            return forward(model, everything, jnp.float32(1))

        def between(states, _):
            states, reports = jax.lax.scan(
                lambda s, _: jax.vmap(one)(s, kept, own), states, None, length=every
            )
            loss, penalty = jax.tree.map(lambda x: x.mean(0), reports)
            return states, (jax.vmap(score)(states), states.kept, loss, penalty)

        return jax.lax.scan(between, states, None, length=times)

    return run


def filled(model: nnx.Module, fit: FullFit, *, network: int, evaluation: int) -> nnx.Module:
    """`model` with the parameters that network had at an evaluation, in evaluation mode."""
    nnx.update(model, jax.tree.map(lambda leaf: jnp.asarray(leaf[evaluation, network]), fit.params))
    model.eval()
    return model
