"""Batches with a share of positives: what they hold, that the loss stays what it is, and that a killed run goes on alike."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from mammojax.errors import UserError
from mammojax.losses import ScoreBuffers, buffered_auc_loss, buffers
from mammojax.runs import stopping
from mammojax.training.batches import Drawing, map_batches
from mammojax.training.loop import fit
from mammojax.training.objectives import Auc
from mammojax.training.optimizer import Optimizer
from mammojax.training.sampling import balanced_order, device_weights, importance
from mammojax.training.step import compiled_step, start
from tests.losses.float64 import all_pairs


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(1, 60), st.integers(2, 40), st.floats(0.01, 0.99), st.integers(0, 9))
def test_every_batch_holds_the_share_and_an_epoch_weighs_as_the_set(positives, negatives, batch, share, seed):
    n = positives + negatives
    labels = np.random.default_rng(seed).permutation(np.repeat([1, 0], [positives, negatives]))
    found = balanced_order(labels, batch=batch, share=share, rng=np.random.default_rng(seed))
    assert len(found) == n
    for begin in range(0, n, batch):
        held = labels[found[begin : begin + batch]]
        if len(held) > 1:
            assert held.sum() == np.clip(round(share * len(held)), 1, len(held) - 1)
    for c in (0, 1):
        times = np.bincount(found, minlength=n)[labels == c]
        assert times.max() - times.min() <= 1
    again = balanced_order(labels, batch=batch, share=share, rng=np.random.default_rng(seed))
    assert np.array_equal(found, again)
    drawn = np.bincount(labels[found], importance(labels, batch=batch, share=share)[found], 2)
    both = np.bincount(labels[found], minlength=2) > 0  # one batch of one sample has no room for a class
    assert np.allclose(drawn[both], np.asarray([negatives, positives])[both], rtol=1e-5)  # float32 sums


def test_a_training_set_of_one_class_is_refused():
    with pytest.raises(UserError, match="training.positives=0"):
        balanced_order(np.zeros(5, int), batch=2, share=0.5, rng=np.random.default_rng(0))


def test_devices_weigh_the_same_within_a_class_and_classes_as_many_as_they_are():
    labels, devices = np.array([0, 0, 0, 0, 1, 1, 0]), ["a", "a", "a", "b", "a", "b", "b"]
    weights = device_weights(labels, devices)
    assert np.allclose(weights, [5 / 6, 5 / 6, 5 / 6, 5 / 4, 1, 1, 5 / 4])


@pytest.mark.parametrize("policy, capacity", [("all", 440), ("reservoir", 30), ("fifo", 30)])
def test_the_mean_gradient_of_balanced_epochs_is_that_of_the_full_loss(policy, capacity):
    rng = np.random.default_rng(4)
    labels = rng.permutation(np.repeat([0, 1], [400, 40]))
    scores = (rng.normal(size=440) + labels).astype(np.float32)
    state, draw = ScoreBuffers.init(policy, capacity), {"batch": 22, "share": 0.5}
    total, epochs = np.zeros(440), 8

    # the form that compiles most quickly
    loss = functools.partial(buffered_auc_loss, stratified=True, implementation="materialized")

    @jax.jit
    def step(state, chosen, key):
        s, y = jnp.asarray(scores)[chosen], jnp.asarray(labels)[chosen]
        slopes = jax.grad(lambda s: loss(s, y, chosen, state))(s)
        return buffers.update(state, s, y, chosen, key=key), slopes * len(chosen) / 440

    for turn in range(epochs):
        order = balanced_order(labels, rng=np.random.default_rng(turn), **draw)
        for k, chosen in enumerate(order.reshape(-1, 22)):
            key = jax.random.fold_in(jax.random.key(turn), k)
            state, slopes = step(state, jnp.asarray(chosen, jnp.int32), key)
            if turn:
                np.add.at(total, chosen, np.asarray(slopes) / (epochs - 1))
    _, expected = all_pairs(scores, labels)
    # Not stratified, the positives' slopes are 5 times too large (all), or both off by a third and more. Left is chance: the
    # mean slope over k partners is off by a third over sqrt(k), k = 40 with all of the positives known, and some 30 of the
    # others, averaged over epochs
    for c in (0, 1):
        assert total[labels == c].sum() == pytest.approx(expected[labels == c].sum(), rel=0.06)
    positive = labels == 1
    assert np.linalg.norm((total - expected)[positive]) < 0.1 * np.linalg.norm(expected[positive])


class _Films:
    """Maps of 30 films with two copies each, as `Bags` gives them."""

    copies = 2
    values = np.random.default_rng(0).normal(size=(30, 2, 3, 4, 5)).astype(np.float32)

    def read(self, i, copy=0):
        return self.values[i, copy], np.ones((3, 4), bool)


class _Mean(nnx.Module):
    def __init__(self):
        self.last = nnx.Linear(5, 1, rngs=nnx.Rngs(0))

    def __call__(self, values, tissue, progress):
        return self.last(values.mean((1, 2)))[:, 0]


def test_a_killed_run_with_balanced_batches_resumes_to_the_same_bits(tmp_path):
    labels = (np.arange(30) % 6 == 0).astype(np.int32)
    feed = map_batches(_Films(), np.arange(30), labels, drawing=Drawing(8, share=0.25), seed=5)
    optimizer, objective = Optimizer(learning_rate=0.02, steps=12), Auc(implementation="materialized")

    def train(folder, dies=None):
        model = _Mean()
        graph, state = start(model, optimizer, objective, labels=labels)
        step = compiled_step(graph, optimizer, objective)

        def advance(state, epoch, begin):
            for number, group in enumerate(feed(epoch, begin)):
                held = group[0].labels[group[0].where]
                assert held.sum() == (2 if len(held) == 8 else round(0.25 * len(held)))
                if (epoch, number) == dies:
                    raise stopping.Stopped
                state, report = step(state, group)
                yield state, report

        return fit(model, state, advance, lambda s: np.ravel(s.params["last"]["kernel"][...]), epochs=3, steps=4,
                   folder=folder, describe=lambda scores, report: {})  # fmt: skip

    whole = train(tmp_path / "whole")
    with pytest.raises(stopping.Stopped):
        train(tmp_path / "cut", dies=(1, 2))
    resumed = train(tmp_path / "cut")
    assert np.array_equal(whole.curve[3], resumed.curve[3])
    assert not np.array_equal(whole.curve[3], whole.curve[1])
