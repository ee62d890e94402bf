"""Each line of the table of objectives is the loss of the library that it names."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mammojax import losses
from mammojax.settings import Settings
from mammojax.training.objectives import OBJECTIVES, Aucm
from mammojax.training.step import Batch, TrainState, _staleness, one_step
from tests.losses.float64 import all_pairs

RNG = np.random.default_rng(0)
LABELS = (np.arange(48) % 4 == 0).astype(np.int32)
SCORES = (RNG.normal(size=48) + LABELS).astype(np.float32)
COUNTS = jnp.array([36.0, 12.0])


def batch(at):
    return Batch(None, LABELS[at], np.asarray(at, np.int32), np.ones(len(at), bool))


def loss_and_slopes(objective, at, buffers):
    state = SimpleNamespace(counts=COUNTS, buffers=buffers)
    # jitted: op by op each of some hundred small ones compiles
    return jax.jit(jax.value_and_grad(lambda s: objective.loss(s, batch(at), state)))(SCORES[at])


DEFINITIONS = {
    "partial_auc": lambda s: losses.pairwise_auc_loss(
        s, LABELS, max_fpr=0.3, min_tpr=0.2, implementation="materialized"
    ),
    "soft_partial_auc": lambda s: losses.soft_partial_auc_loss(s, LABELS, softness=0.5),
    "soft_two_way_auc": lambda s: losses.soft_partial_auc_loss(
        s, LABELS, softness=0.5, positive_softness=0.5
    ),
    # solved for a, b and alpha: the variances of the classes and the squared hinge of the distance of their means
    "aucm": lambda s: (
        jnp.var(s[LABELS == 1])
        + jnp.var(s[LABELS == 0])
        + jnp.maximum(1 + s[LABELS == 0].mean() - s[LABELS == 1].mean(), 0) ** 2
    ),
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_step_on_the_whole_set_is_the_loss_with_the_options_of_the_run(name):
    options = {**vars(Settings().loss), "max_fpr": 0.3, "min_tpr": 0.2, "softness": 0.5}
    options["implementation"] = "materialized"
    objective = OBJECTIVES[name](**options).at_once()
    assert objective.buffers(48) is None
    found = loss_and_slopes(objective, np.arange(48), None)
    expected = jax.jit(jax.value_and_grad(DEFINITIONS[name]))(SCORES)
    assert float(found[0]) == pytest.approx(float(expected[0]), rel=1e-5)
    # sums of 48 float32 terms in another order, of the largest
    assert np.abs(found[1] - expected[1]).max() < 1e-5 * np.abs(expected[1]).max()


def test_batches_of_one_class_beside_stored_scores_add_up_to_the_slopes_of_the_set():
    objective = Aucm()
    ids = np.arange(48, dtype=np.int32)
    filled = losses.buffers.update(objective.buffers(48), SCORES, LABELS, ids)
    slopes = np.zeros(48)

    @jax.jit
    def slopes_of(at, labels):
        state = SimpleNamespace(counts=COUNTS, buffers=filled)
        mine = Batch(None, labels, at, np.ones(12, bool))
        return jax.grad(lambda s: objective.loss(s, mine, state))(jnp.asarray(SCORES)[at])

    for at in np.argsort(LABELS, kind="stable").reshape(4, 12):  # the last batch holds all positives
        slopes[at] = np.asarray(slopes_of(at.astype(np.int32), LABELS[at])) / 4  # the mean over batches
    expected = jax.jit(jax.grad(DEFINITIONS["aucm"]))(SCORES)
    assert np.abs(slopes - expected).max() < 1e-5 * np.abs(expected).max()


def test_the_mean_age_of_many_old_scores_does_not_overflow():
    size, age = 70_000, 100_000  # 7e9 steps in all
    stored = losses.ScoreBuffers.init("all", size)
    stored = dataclasses.replace(stored, labels=jnp.zeros(size, jnp.int32))
    at = np.arange(4, dtype=np.int32)
    _, found = _staleness(SimpleNamespace(buffers=stored, step=jnp.int32(age)), SCORES[:4], batch(at))
    assert float(found) == pytest.approx(age, rel=1e-5)  # a float32 sum


class Line(nnx.Module):
    def __init__(self):
        self.w = nnx.Param(jnp.array([0.5, -1.0, 0.2]))

    def __call__(self, x, tissue, progress):
        return x @ self.w[...]


def test_the_compositional_loss_is_differentiated_through_its_logistic_step():
    x, rate = RNG.normal(size=(48, 3)) + LABELS[:, None], 3.0
    objective = OBJECTIVES["compositional_auc"](**vars(Settings().loss) | {"inner_rate": rate}).at_once()
    graph, params, rest = nnx.split(Line(), nnx.Param, ...)
    # an optimiser whose new parameters are the gradient
    told = SimpleNamespace(
        rate=lambda *_: 1.0,
        decay="decoupled",
        penalty=lambda *_: 0.0,
        update=lambda gradient, state, *_: (gradient, state),
    )
    state = TrainState(params, rest, None, None, COUNTS, None, None, None, jnp.int32(0), jnp.int32(1))
    everything = Batch(x.astype(np.float32), LABELS, np.arange(48), np.ones(48, bool))
    found = one_step(graph, told, objective, state, everything)[0].params["w"][...]

    w = np.array([0.5, -1.0, 0.2])
    probability = 1 / (1 + np.exp(-x @ w))
    inner = w - rate * x.T @ (probability - LABELS) / 48
    _, slopes = all_pairs((x @ inner), LABELS)
    curvature = (x.T * (probability * (1 - probability))) @ x / 48
    # float32 sums of 48 terms
    assert np.allclose(found, (np.eye(3) - rate * curvature) @ (x.T @ slopes), rtol=1e-4, atol=1e-6)
    assert not np.allclose(found, x.T @ slopes, rtol=0.05)
