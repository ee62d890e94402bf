"""One optimiser step: scores, loss, gradient, update of parameters and score buffers, in one jitted function."""

import dataclasses
import functools
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from mammojax import losses
from mammojax.errors import UserError
from mammojax.training.state import TrainState

SCHEDULES = ("constant", "cosine", "linear")
_PASSES = (
    0.1  # of a score: how far two passes may differ with bfloat16 products; other dropout differs by more
)


class Batch(NamedTuple):
    """inputs: representations [b, np, np, c] or pixels [b, h, w, 1], float32. labels: int32[b] in {0, 1}.
    ids: int32[b], the sample's slot in the buffers. where: bool[b], False for padding. plan: how pixels are scanned,
    None for representations.
    """

    inputs: Any
    labels: Any
    ids: Any
    where: Any
    plan: Any = None


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Static:
    """A part of a batch that a compiled function depends on by value."""

    value: Any


class Objective(NamedTuple):
    """What is minimised. loss(scores, batch, buffers) -> float32[]; buffers: initial `ScoreBuffers` or None."""

    loss: Callable
    buffers: Any = None


def auc_objective(
    *,
    pairs: str,
    samples: int,
    policy: str = "all",
    capacity: int = 0,
    surrogate: str = "logistic",
    implementation: str = "auto",
    margin: float = 0.0,
    temperature: float = 1.0,
) -> Objective:
    """The pairwise AUC loss, eq. (4), over the pairs of a step's samples, or of these and the buffers (eq. 3).

    pairs: "batch", "buffer" or "two_pass", which is "batch" for steps over groups of batches. samples: training samples
    (slots of the policy "all"). policy, capacity: of the score buffers; capacity 0 means one slot a training sample. surrogate ... temperature: of the pair loss.
    """
    form = {
        "surrogate": surrogate,
        "implementation": implementation,
        "margin": margin,
        "temperature": temperature,
    }
    if pairs in ("batch", "two_pass"):

        def over_batch(scores, batch, buffers):
            return losses.pairwise_auc_loss(scores, batch.labels, where=batch.where, **form)

        return Objective(over_batch)
    if pairs != "buffer":
        raise UserError(f"loss.pairs is {pairs!r}; expected batch, buffer or two_pass")
    if capacity == 0 or policy == "all":
        capacity = samples

    def over_buffer(scores, batch, buffers):
        return losses.buffered_auc_loss(scores, batch.labels, batch.ids, buffers, where=batch.where, **form)

    return Objective(over_buffer, buffers=losses.ScoreBuffers.init(policy=policy, capacity=capacity))


def logistic_objective() -> Objective:
    """The plain logistic loss (baseline 2 of the paper)."""
    return Objective(lambda scores, batch, _: losses.logistic_loss(scores, batch.labels, where=batch.where))


def weighted_logistic_objective(*, positives: int, negatives: int) -> Objective:
    """The logistic loss with each class carrying half of the weight, by the counts of the training set."""
    return Objective(
        lambda scores, batch, _: losses.class_weighted_logistic_loss(
            scores, batch.labels, positives=positives, negatives=negatives, where=batch.where
        )
    )


def make_optimizer(
    *,
    learning_rate: float,
    steps: int,
    schedule: str = "cosine",
    warmup: float = 0.05,
    clip: float = 1.0,
    scale_of: Callable | None = None,
) -> optax.GradientTransformation:
    """Adam with gradient clipping and a schedule over `steps` optimiser steps.

    warmup: share of the steps with a linear rise. clip: largest global norm of the gradient, 0 for none.
    scale_of(path) -> float: factor of the learning rate of one parameter, for parts that learn slower (0 freezes).
    """
    if schedule not in SCHEDULES:
        raise UserError(f"training.schedule is {schedule!r}; expected one of {', '.join(SCHEDULES)}")
    rising = round(warmup * steps)
    falling = max(steps - rising, 1)
    tail = {
        "constant": optax.constant_schedule(learning_rate),
        "cosine": optax.cosine_decay_schedule(learning_rate, falling),
        "linear": optax.linear_schedule(learning_rate, 0.0, falling),
    }[schedule]
    rate = (
        optax.join_schedules([optax.linear_schedule(0.0, learning_rate, rising), tail], [rising])
        if rising
        else tail
    )
    parts = [optax.clip_by_global_norm(clip)] if clip else []
    parts.append(optax.adam(rate))
    if scale_of is not None:

        def scaled(updates, params=None):
            return jax.tree_util.tree_map_with_path(lambda path, u: u * scale_of(path), updates)

        parts.append(optax.stateless(scaled))
    return optax.chain(*parts)


def squared_norm(params) -> jax.Array:
    """||W||^2 over kernels (arrays of two and more axes); biases are not weighed."""
    return sum(jnp.sum(jnp.square(p.astype(jnp.float32))) for p in jax.tree.leaves(params) if p.ndim > 1)


def forward(model: nnx.Module, inputs, plan) -> jax.Array:
    """float32[b]: scores of representations (plan None) or of pixels."""
    return (model(inputs) if plan is None else model(inputs, plan)).astype(jnp.float32)


def start(model: nnx.Module, optimizer: optax.GradientTransformation, objective: Objective):
    """(graph, TrainState) of a model at step 0."""
    model.train()
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    state = TrainState(params, rest, optimizer.init(params), objective.buffers, jnp.zeros((), jnp.int32))
    return graph, jax.tree.map(jnp.array, state)  # own copies: the step donates them


def make_step(
    graph,
    optimizer: optax.GradientTransformation,
    objective: Objective,
    *,
    regularisation: float,
    seed: int = 0,
) -> Callable[[TrainState, Collection[Batch]], tuple[TrainState, jax.Array]]:
    """step(state, group) -> (state, loss): one optimiser step on a group of batches; the state is donated.

    The loss is the objective over all samples of the group plus regularisation / 2 ||W||^2, and the score buffers are
    updated once, with all its scores. A group of several batches, of any shapes and plans, is gone through twice
    (`losses.two_pass`) with the memory of one; it must give the same batches each time. seed: of the reservoir's random
    choices.
    """

    def penalty(params):
        return 0.5 * regularisation * squared_norm(params) if regularisation else jnp.float32(0)

    def scores_of(params, rest, inputs, plan):
        model = nnx.merge(graph, params, rest, copy=True)
        return forward(model, inputs, plan), nnx.state(model, nnx.Not(nnx.Param))

    def advance(state, gradient, rest, buffers):
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, rest, opt_state, buffers, state.step + 1)

    def stored(buffers, scores, batch, step):
        if buffers is None:
            return None
        key = jax.random.fold_in(jax.random.key(seed), step)
        return losses.buffers.update(
            buffers, scores, batch.labels, batch.ids, where=batch.where, key=key, step=step
        )

    @functools.partial(jax.jit, donate_argnums=0, static_argnums=2)
    def single(state: TrainState, batch: Batch, plan):
        def loss_of(params):
            scores, rest = scores_of(params, state.rest, batch.inputs, plan)
            return objective.loss(scores, batch, state.buffers) + penalty(params), (scores, rest)

        (loss, (scores, rest)), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        buffers = stored(state.buffers, scores, batch, state.step)
        return advance(state, gradient, rest, buffers), loss

    def scores_and_rest(params, inputs):
        rest, pixels, plan = inputs
        return scores_of(params, rest, pixels, plan.value)

    def loss_of_all(scores, samples, buffers, step, *, where):
        labels, ids = samples
        batch = Batch(None, labels, ids, where)
        return objective.loss(scores, batch, buffers), stored(buffers, scores, batch, step)

    value_and_gradient = losses.two_pass(
        scores_and_rest, loss_of_all, has_aux=True, loss_has_aux=True, tolerance=_PASSES
    )

    @functools.partial(jax.jit, donate_argnums=0)
    def finished(state, gradient, rest, buffers, loss):
        value, own = jax.value_and_grad(penalty)(state.params)
        return advance(state, jax.tree.map(jnp.add, gradient, own), rest, buffers), loss + value

    def step(state: TrainState, group):
        if len(group) == 1:
            (batch,) = group
            return single(state, batch._replace(plan=None), batch.plan)

        def batches():  # every batch is scored twice from the same variables: the same dropout
            return (((state.rest, b.inputs, _Static(b.plan)), (b.labels, b.ids), b.where) for b in group)

        loss, gradient, *after = value_and_gradient(state.params, batches, state.buffers, state.step)
        return finished(state, gradient, *after, loss)

    return step


@functools.lru_cache(maxsize=64)
def _compiled_scores(graph):
    @functools.partial(jax.jit, static_argnums=3)
    def scores(params, rest, inputs, plan):
        return forward(nnx.merge(graph, params, rest), inputs, plan)

    return scores


def make_scorer(model: nnx.Module) -> Callable:
    """score(params, rest, batch) -> float32[b] in evaluation mode (no dropout), for `TrainState`'s variables."""
    model.eval()
    graph, _, _ = nnx.split(model, nnx.Param, ...)
    model.train()
    compiled = _compiled_scores(graph)
    return lambda params, rest, batch: np.asarray(compiled(params, rest, batch.inputs, batch.plan))


def model_scorer(model: nnx.Module) -> Callable:
    """score(batch) -> float32[b] of a model in evaluation mode."""
    model.eval()
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    compiled = _compiled_scores(graph)
    return lambda batch: np.asarray(compiled(params, rest, batch.inputs, batch.plan))
