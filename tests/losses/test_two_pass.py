"""Two passes over batches give the gradient of the whole set, or refuse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mammojax.losses import ScoreBuffers, buffered_auc_loss, buffers, pairwise_auc_loss, two_pass

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(50, 6)).astype(np.float32)
LABELS = (RNG.random(50) < 0.3).astype(np.int32)
WHERE = np.arange(50) % 9 > 0
PARAMS = {
    "first": RNG.normal(size=(6, 5)).astype(np.float32),
    "second": RNG.normal(size=5).astype(np.float32),
}


def score(params, inputs):
    return jnp.tanh(inputs @ params["first"]) @ params["second"]


def batches(size):
    return [(INPUTS[i : i + size], LABELS[i : i + size], WHERE[i : i + size]) for i in range(0, 50, size)]


@pytest.mark.parametrize("size", [50, 16, 7])
@pytest.mark.parametrize("implementation", ["tiled", "fast"])
def test_the_gradient_is_that_of_all_samples_at_once(size, implementation):
    loss = functools.partial(pairwise_auc_loss, implementation=implementation)
    value, gradient = two_pass(score, loss)(PARAMS, batches(size))
    whole = jax.value_and_grad(lambda p: pairwise_auc_loss(score(p, INPUTS), LABELS, where=WHERE))(PARAMS)
    assert float(value) == pytest.approx(float(whole[0]), rel=1e-6)
    for found, expected in zip(jax.tree.leaves(gradient), jax.tree.leaves(whole[1])):
        # 50 float32 terms in another order, of the largest element
        assert np.abs(found - expected).max() < 3e-6 * np.abs(expected).max()


def test_a_function_may_make_the_batches_and_what_score_adds_comes_back():
    def with_aux(params, inputs):
        return score(params, inputs), jnp.sum(inputs)

    value, _, aux = two_pass(with_aux, pairwise_auc_loss, has_aux=True)(PARAMS, lambda: iter(batches(16)))
    assert np.isfinite(value) and float(aux) == pytest.approx(float(INPUTS[48:].sum()), rel=1e-5)


def test_labels_may_be_a_tree_and_the_loss_may_take_buffers_and_give_them_back():
    ids = np.arange(50, dtype=np.int32)
    filled = buffers.update(ScoreBuffers.init("all", 50), RNG.normal(size=50), LABELS, ids)

    def loss(scores, samples, stored, step, *, where):
        value = buffered_auc_loss(scores, *samples, stored, where=where)
        return value, buffers.update(stored, scores, *samples, where=where, step=step)

    parts = [(x, (y, ids[16 * k : 16 * k + 16]), w) for k, (x, y, w) in enumerate(batches(16))]
    value, gradient, after = two_pass(score, loss, loss_has_aux=True)(PARAMS, parts, filled, 7)
    whole = jax.value_and_grad(
        lambda p: buffered_auc_loss(score(p, INPUTS), LABELS, ids, filled, where=WHERE)
    )(PARAMS)
    assert float(value) == pytest.approx(float(whole[0]), rel=1e-6)
    for found, expected in zip(jax.tree.leaves(gradient), jax.tree.leaves(whole[1])):
        assert np.abs(found - expected).max() < 3e-6 * np.abs(expected).max()  # as above
    assert np.allclose(after.scores[WHERE], score(PARAMS, INPUTS)[WHERE], rtol=1e-5, atol=1e-6)
    assert np.array_equal(after.steps, np.where(WHERE, 7, 0))  # padding is not stored


def test_scores_that_change_between_the_passes_are_refused():
    calls = iter(range(1000))

    def noisy(params, inputs):  # compiled once for each pass, with another draw
        return score(params, inputs) + jax.random.normal(jax.random.key(next(calls)), inputs.shape[:1])

    with pytest.raises(ValueError, match=r"differ by .*draw dropout from a key"):
        two_pass(noisy, pairwise_auc_loss)(PARAMS, batches(25))


def test_a_generator_that_runs_out_and_an_empty_set_are_refused():
    with pytest.raises(ValueError, match="a generator runs out"):
        two_pass(score, pairwise_auc_loss)(PARAMS, (b for b in batches(25)))
    with pytest.raises(ValueError, match="no batch"):
        two_pass(score, pairwise_auc_loss)(PARAMS, [])
