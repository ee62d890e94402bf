"""One optimiser step: scores, loss, gradient, update of parameters and score buffers, in one compiled function.

Everything that changes from step to step is one pytree on the device, the `TrainState`. What a program depends on by
value (the network's form, the optimiser, the objective) is hashable, so that all cells of a table share few programs.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mammojax import losses
from mammojax.errors import UserError
from mammojax.runs.devices import DATA, gathered
from mammojax.training import spreading
from mammojax.training.objectives import Objective
from mammojax.training.optimizer import Optimizer

_PASSES = (
    0.1  # of a score: how far two passes may differ with bfloat16 products; other dropout differs by more
)


class Batch(NamedTuple):
    """inputs: maps float32[b, r, c, ch], pixels float32[b, h, w, 1], or int32[b], rows of the maps that lie on the device.
    labels: int32[b] in {0, 1}. ids: int32[b], the sample's slot in the buffers. where: bool[b], False for padding.
    tissue: bool[b, r, c], the cells that are breast; None where `inputs` are rows. plan: how pixels are scanned, None
    for maps. weights: float32[b], what a sample counts in the loss; None: 1 each.
    """

    inputs: Any
    labels: Any
    ids: Any
    where: Any
    tissue: Any = None
    plan: Any = None
    weights: Any = None


class Maps(NamedTuple):
    """Maps that lie on the device: values float[n, r, c, ch] and tissue bool[n, r, c] of n samples."""

    values: Any
    tissue: Any


class TrainState(NamedTuple):
    """params: the trainable variables. rest: all other variables of the model (normalisation, dropout's counts).
    opt_state: of the optimiser. buffers: `ScoreBuffers`, or None for losses without pairs. counts: float32[2], negatives
    and positives of the training set. average: the running mean of params, or None. anchor: what decay pulls to, or
    None for zero. seed: of the reservoir's random choices. step: int32, optimiser steps taken. steps: int32, of the whole
    schedule; here and not in the program, so that folds of other sizes share it.
    """

    params: Any
    rest: Any
    opt_state: Any
    buffers: Any
    counts: Any
    average: Any
    anchor: Any
    seed: Any
    step: Any
    steps: Any

    @property
    def kept(self):
        """The parameters that are scored with: the running mean where there is one."""
        return self.params if self.average is None else self.average


class Report(NamedTuple):
    """What a step tells: loss (the data term), penalty, the scores float32[b] that it was taken at, and of the stored scores
    their drift (mean change of the batch's own samples since they were stored) and mean age in steps; 0 without buffers.
    """

    loss: Any
    penalty: Any
    scores: Any
    drift: Any
    age: Any


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Static:
    """A part of a batch that a compiled function depends on by value."""

    value: Any


def start(
    model: nnx.Module,
    optimizer: Optimizer,
    objective: Objective,
    *,
    labels,
    seed: int = 0,
    anchored: bool = False,
    mesh=None,
    shard: int = 0,
):
    """(graph, TrainState) of a model at step 0. labels: int[n] of the training samples. anchored: decay pulls to the
    parameters that the model has now. mesh, shard: that the state is to lie on, see `compiled_step`."""
    model.train()
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    positives = float(np.sum(labels))
    state = TrainState(
        params=params,
        rest=rest,
        opt_state=optimizer.init(params),
        buffers=objective.buffers(len(labels)),
        counts=jnp.asarray([len(labels) - positives, positives], jnp.float32),
        average=params if optimizer.average else None,
        anchor=params if anchored else None,
        seed=jnp.asarray(seed, jnp.uint32),
        step=jnp.zeros((), jnp.int32),
        steps=jnp.asarray(optimizer.steps, jnp.int32),
    )
    state = jax.tree.map(jnp.array, state)  # own copies: the step donates them
    if mesh is not None:
        state = spreading.placed(state, mesh, shard)
    return graph, state


def forward(model: nnx.Module, batch: Batch, progress) -> jax.Array:
    """float32[b]: scores of maps (plan None) or of pixels. progress: float32[], share of the training that is done."""
    if batch.plan is None:
        return model(batch.inputs, batch.tissue, progress).astype(jnp.float32)
    return model(batch.inputs, batch.plan, batch.tissue, progress).astype(jnp.float32)


def taken(batch: Batch, maps: Maps | None) -> Batch:
    """The batch with its maps: those of `maps` where its inputs are rows, all of them where they are None."""
    if maps is None:
        return batch
    if batch.inputs is None:
        return batch._replace(inputs=maps.values.astype(jnp.float32), tissue=maps.tissue)
    return batch._replace(
        inputs=maps.values[batch.inputs].astype(jnp.float32), tissue=maps.tissue[batch.inputs]
    )


def one_step(graph, optimizer: Optimizer, objective: Objective, state: TrainState, batch: Batch):
    """(state, Report): one step on one batch of one device; pure, to be compiled by the caller."""
    term = _data_term(graph, objective, state, batch)

    def loss_of(params):
        loss, (scores, rest) = term(params)
        penalty = optimizer.penalty(params, state.anchor)
        total = loss + penalty if optimizer.decay == "penalty" else loss
        return total, (loss, penalty, scores, rest)

    (_, (loss, penalty, scores, rest)), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    buffers = _stored(objective, state, scores, batch)
    advanced = _advanced(optimizer, state, gradient, rest, buffers)
    return advanced, Report(loss, penalty, scores, *_staleness(state, scores, batch))


def _data_term(graph, objective, state, batch, *, axis_name=None, whole=lambda params: params):
    """term(params) -> (loss, (scores, other variables of the model)). whole: of the parameters of a device, those that the
    network is computed with."""

    def scored_by(params):
        model = nnx.merge(graph, whole(params), state.rest, copy=True)
        return forward(model, batch, _progress(state)), model

    def term(params):
        here = params
        if objective.first is not None:
            other, rate = objective.first
            slopes = jax.grad(lambda p: other.loss(scored_by(p)[0], batch, state, axis_name))(params)
            here = jax.tree.map(lambda p, slope: p - rate * slope, params, slopes)
        scores, model = scored_by(here)
        return objective.loss(scores, batch, state, axis_name), (scores, nnx.state(model, nnx.Not(nnx.Param)))

    return term


def _progress(state: TrainState):
    return jnp.minimum(state.step / state.steps.astype(jnp.float32), 1.0)


def _advanced(optimizer, state: TrainState, gradient, rest, buffers) -> TrainState:
    rate = optimizer.rate(state.step, state.steps)
    params, opt_state = optimizer.update(gradient, state.opt_state, state.params, rate, state.anchor)
    average = None if state.average is None else optimizer.averaged(state.average, params, state.step)
    return state._replace(
        params=params, rest=rest, opt_state=opt_state, buffers=buffers, average=average, step=state.step + 1
    )


def _stored(objective: Objective, state: TrainState, scores, batch: Batch, axis_name=None):
    if state.buffers is None:
        return None
    key = jax.random.fold_in(jax.random.key(state.seed), state.step)
    return losses.buffers.update(
        state.buffers,
        scores,
        batch.labels,
        batch.ids,
        where=batch.where,
        weights=batch.weights,
        key=key,
        step=state.step,
        correct_drift=objective.correct_drift,
        axis_name=axis_name,
    )


def _staleness(state: TrainState, scores, batch: Batch, axis_name=None):
    """(drift, mean age) of what was stored before this step."""
    if state.buffers is None:
        return jnp.float32(0), jnp.float32(0)
    drift = losses.buffers.drift(
        state.buffers, scores, batch.labels, batch.ids, where=batch.where, axis_name=axis_name
    )
    ages = state.buffers.ages(state.step)
    held, total = (ages >= 0).sum(), jnp.where(ages >= 0, ages, 0).astype(jnp.float32).sum()  # beyond 2^31
    if axis_name is not None and state.buffers.policy == "all":
        held, total = jax.lax.psum((held, total), axis_name)
    return drift, total / jnp.maximum(held, 1)


@functools.lru_cache(maxsize=64)
def compiled_step(graph, optimizer: Optimizer, objective: Objective, mesh=None, shard: int = 0) -> Callable:
    """step(state, group, maps=None) -> (state, Report): one optimiser step on a group of batches; the state is donated.

    maps: what the inputs of a group of one batch are rows of, if they are. The loss is the objective over all samples of
    the group, and the score buffers are updated once, with all its scores.
    A group of several batches, of any shapes and plans, is gone through twice (`losses.two_pass`) with the memory of
    one; it must give the same batches each time. The scores of the report are None for such a group. mesh: over whose
    axis `data` the one batch of a group is spread, with the state as `start` places it. shard: kernels of at least so
    many numbers are spread over that axis, and so is what the optimiser keeps of them; 0: none.
    """

    @functools.partial(jax.jit, donate_argnums=0, static_argnums=3)
    def single(state: TrainState, batch: Batch, maps: Maps | None, plan):
        if mesh is None:
            return one_step(graph, optimizer, objective, state, taken(batch, maps)._replace(plan=plan))

        def part(state, batch, maps, whole):
            batch = taken(batch, maps)._replace(plan=plan)
            term = _data_term(graph, objective, state, batch, axis_name=DATA, whole=whole)
            (loss, (scores, rest)), gradient = jax.value_and_grad(term, has_aux=True)(state.params)
            buffers = _stored(objective, state, scores, batch, DATA)
            stale = _staleness(state, scores, batch, DATA)
            return gradient, rest, buffers, Report(loss, jnp.float32(0), scores, *stale)

        lean = state._replace(opt_state=None, average=None, anchor=None)
        *found, report = spreading.mapped(part, mesh, shard, lean, Report)(lean, batch, maps)
        state, penalty = finished(state, *found)
        return state, report._replace(penalty=penalty)

    def scores_and_rest(params, inputs):
        rest, progress, pixels, tissue, plan = inputs
        model = nnx.merge(graph, params, rest, copy=True)
        scores = forward(model, Batch(pixels, None, None, None, tissue, plan.value), progress)
        return scores, nnx.state(model, nnx.Not(nnx.Param))

    def loss_of_all(scores, samples, state, *, where):
        labels, ids, weights = samples
        batch = Batch(None, labels, ids, where, weights=weights)
        return objective.loss(scores, batch, state), (
            _stored(objective, state, scores, batch),
            _staleness(state, scores, batch),
        )

    value_and_gradient = losses.two_pass(
        scores_and_rest, loss_of_all, has_aux=True, loss_has_aux=True, tolerance=_PASSES
    )

    @functools.partial(jax.jit, donate_argnums=0)
    def finished(state, gradient, rest, buffers):
        penalty, own = jax.value_and_grad(optimizer.penalty)(state.params, state.anchor)
        if optimizer.decay == "penalty":
            gradient = jax.tree.map(jnp.add, gradient, own)
        advanced = _advanced(optimizer, state, gradient, rest, buffers)
        return spreading.kept_so(advanced, mesh, shard), penalty

    def step(state: TrainState, group, maps: Maps | None = None):
        if len(group) == 1:
            (batch,) = group
            size = len(batch.labels)
            arrays = batch._replace(plan=None) if mesh is None else spreading.spread(batch, mesh)
            state, report = single(state, arrays, maps, batch.plan)
            return state, report if mesh is None else report._replace(scores=report.scores[:size])
        if objective.first is not None:
            raise UserError(
                "the compositional AUC loss takes one batch a step; give config.finetune.microbatches=1, and "
                "config.loss.pairs=batch or buffer"
            )
        progress = _progress(state)

        def batches():  # each is scored twice from the same variables, with random numbers of its own
            for j, b in enumerate(group):
                inputs = (shifted(state.rest, j), progress, b.inputs, b.tissue, _Static(b.plan))
                yield inputs, (b.labels, b.ids, b.weights), b.where

        lean = state._replace(params=None, rest=None, opt_state=None, average=None, anchor=None)
        params = gathered(state.params, mesh)
        loss, gradient, rest, (buffers, stale) = value_and_gradient(params, batches, lean)
        state, penalty = finished(state, gradient, rest, buffers)
        return state, Report(loss, penalty, None, *stale)

    step.program = single  # for who compiles it ahead of time
    return step


def shifted(rest, j: int):
    """The variables with every count of drawn random numbers moved on by j, so that no two batches share a draw."""
    if j == 0:
        return rest

    def moved(path, leaf):
        return leaf + jnp.asarray(j, leaf.dtype) if _is_count(path) else leaf

    return jax.tree_util.tree_map_with_path(moved, rest)


def _is_count(path) -> bool:
    return any(str(getattr(key, "key", getattr(key, "name", ""))) == "count" for key in path)
