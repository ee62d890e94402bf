"""The min-max margin loss: its saddle is the pairwise square loss, and it survives easy data and one-class batches."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mammojax.losses import AUCMVariables, auc, aucm_loss, aucm_optimizer, aucm_saddle
from tests.losses.float64 import all_pairs


def sample(size=300, distance=0.4):
    rng = np.random.default_rng(0)
    labels = (rng.random(size) < 0.2).astype(np.int32)
    return (0.3 * rng.normal(size=size) + distance * labels).astype(np.float32), labels


def saddle(scores, labels, margin):
    a, b = scores[labels == 1].mean(), scores[labels == 0].mean()
    found = aucm_saddle(scores, labels, margin=margin)
    assert np.allclose([found.a, found.b, found.alpha], [a, b, max(0, margin + b - a)], atol=1e-6)
    return found


@pytest.mark.parametrize("share", [None, "of the data"])
def test_at_the_saddle_the_loss_is_the_square_loss_over_all_pairs(share):
    scores, labels = sample()
    share = labels.mean() if share else None
    value, slopes = jax.value_and_grad(aucm_loss, argnums=2)(
        scores, labels, saddle(scores, labels, 1.0), positive_share=share
    )
    # the square surrogate is (1 + n - p)^2: margin 1
    expected, gradient = all_pairs(scores, labels, surrogate="square")
    assert float(value) == pytest.approx(expected, rel=1e-5)  # a difference of means in float32
    assert max(abs(float(x)) for x in jax.tree.leaves(slopes)) < 1e-6
    found = jax.grad(aucm_loss)(scores, labels, saddle(scores, labels, 1.0), positive_share=share)
    assert np.abs(found - gradient).max() < 1e-5 * np.abs(gradient).max()


def test_beyond_the_margin_only_the_spread_of_the_classes_is_left():
    scores, labels = sample(distance=3)
    value = aucm_loss(scores, labels, saddle(scores, labels, 1.0))
    spread = sum(scores[labels == c].astype(np.float64).var() for c in (0, 1))
    assert float(value) == pytest.approx(spread, rel=1e-5)


def test_with_the_share_of_the_data_the_mean_over_batches_is_the_loss_of_the_set():
    scores, labels = sample()
    order = np.argsort(labels)  # most batches hold one class
    variables = AUCMVariables(*(jnp.float32(x) for x in (0.5, -0.1, 0.7)))
    share = labels.mean()
    batches = order.reshape(10, 30)
    parts = [float(aucm_loss(scores[i], labels[i], variables, positive_share=share)) for i in batches]
    whole = float(aucm_loss(scores, labels, variables, positive_share=share))
    assert np.mean(parts) == pytest.approx(whole, rel=1e-5)


def test_a_batch_of_one_class_is_zero_without_a_share_and_never_nan():
    scores, _ = sample()
    for label in (0, 1):
        labels = np.full(len(scores), label)
        value, gradient = jax.value_and_grad(aucm_loss)(scores, labels, AUCMVariables.init())
        assert float(value) == 0 and (np.asarray(gradient) == 0).all()
        gradient = jax.grad(aucm_loss)(scores, labels, AUCMVariables.init(), positive_share=0.2)
        assert np.isfinite(gradient).all()


def test_the_optimizer_separates_separable_data_through_one_class_batches_with_alpha_at_least_zero():
    rng = np.random.default_rng(1)
    labels = (np.arange(200) % 5 == 0).astype(np.int32)
    inputs = rng.normal(size=(200, 4)).astype(np.float32)
    inputs[:, 0] += 6 * labels
    inputs /= 6
    params = {"model": jnp.zeros(4), "aucm": AUCMVariables.init()}
    optimizer = aucm_optimizer(optax.sgd(0.02), learning_rate=0.05)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, x, y):
        def loss(params):
            return aucm_loss(x @ params["model"], y, params["aucm"], positive_share=0.2)

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    lowest, highest = np.inf, 0.0
    for epoch in range(30):
        order = np.random.default_rng(epoch).permutation(200) if epoch % 2 else np.argsort(labels)
        for batch in order.reshape(20, 10):
            params, state = step(params, state, inputs[batch], labels[batch])
            lowest = min(lowest, float(params["aucm"].alpha))
            highest = max(highest, float(params["aucm"].alpha))
    assert lowest >= 0 and highest > 0.1  # it did ascend, and was held
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(params))
    assert float(auc(inputs @ params["model"], labels)) == 1.0


def test_a_share_outside_its_range_is_an_error():
    scores, labels = sample()
    with pytest.raises(ValueError, match="positive_share must lie between 0 and 1, got 20"):
        aucm_loss(scores, labels, AUCMVariables.init(), positive_share=20)


def test_a_traced_share_is_the_same_number_and_outside_its_range_nan():
    scores, labels = sample()
    variables = AUCMVariables(*(jnp.float32(x) for x in (0.5, -0.1, 0.7)))
    traced = jax.jit(lambda share: aucm_loss(scores, labels, variables, positive_share=share))
    expected = aucm_loss(scores, labels, variables, positive_share=0.2)
    assert float(traced(0.2)) == pytest.approx(float(expected), rel=1e-6)
    assert np.isnan(traced(1.5))
