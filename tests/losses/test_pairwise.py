"""The pairwise AUC losses against numpy in float64, with masks, weights, ties and missing classes."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammojax.losses import (
    ScoreBuffers,
    auc,
    buffered_auc_loss,
    buffers,
    class_weighted_logistic_loss,
    logistic_loss,
    pairwise_auc_loss,
)

# (value, slope) of a pair by its difference d = n - p, in float64
PAIRS = {
    "logistic": (lambda d: np.maximum(d, 0) + np.log1p(np.exp(-np.abs(d))), lambda d: 1 / (1 + np.exp(-d))),
    "sigmoid": (lambda d: 1 / (1 + np.exp(-d)), lambda d: np.exp(-d) / (1 + np.exp(-d)) ** 2),
    "hinge": (lambda d: np.maximum(1 + d, 0), lambda d: (1 + d > 0) * 1.0),
    "squared_hinge": (lambda d: np.maximum(1 + d, 0) ** 2, lambda d: 2 * np.maximum(1 + d, 0)),
    "square": (lambda d: (1 + d) ** 2, lambda d: 2 * (1 + d)),
}


def reference(scores, labels, weights, surrogate):
    """(loss, gradient) by the definition, every pair in float64."""
    value, slope = PAIRS[surrogate]
    scores, weights = np.asarray(scores, np.float64), np.asarray(weights, np.float64)
    p, n = labels == 1, labels == 0
    d = scores[n][None] - scores[p][:, None]
    pair = weights[p][:, None] * weights[n][None]
    total = weights[p].sum() * weights[n].sum()
    gradient = np.zeros_like(scores)
    gradient[p], gradient[n] = -(pair * slope(d)).sum(1) / total, (pair * slope(d)).sum(0) / total
    return (pair * value(d)).sum() / total, gradient


def sample(seed, size=700, kind="overlap"):
    rng = np.random.default_rng(seed)
    labels = (rng.random(size) < 0.2).astype(np.int32)
    scores = rng.normal(size=size) + labels
    if kind == "ties":
        scores = np.round(scores * 2) / 2
    if kind == "separated":
        scores = rng.normal(size=size) + 25 * labels
    return scores.astype(np.float32), labels


@pytest.mark.parametrize("implementation", ["materialized", "tiled"])
@pytest.mark.parametrize("surrogate", list(PAIRS))
@pytest.mark.parametrize("kind", ["overlap", "ties"])
def test_value_and_every_gradient_element_are_the_definition(surrogate, implementation, kind):
    scores, labels = sample(0, kind=kind)
    weights = np.random.default_rng(1).uniform(0.2, 3, len(scores)).astype(np.float32)
    loss, gradient = jax.value_and_grad(
        lambda s: pairwise_auc_loss(
            s, labels, weights=weights, surrogate=surrogate, implementation=implementation
        )
    )(scores)
    expected, slopes = reference(scores, labels, weights, surrogate)
    # float32 differences of scores of size 3 carry 2e-7; sums of some 140 x 560 compensated or in tree order add little
    assert loss == pytest.approx(expected, rel=3e-6)
    assert np.abs(gradient - slopes).max() <= 5e-6 * np.abs(slopes).max()


def test_tiny_gradients_of_separated_scores_keep_their_relative_accuracy():
    scores, labels = sample(3, kind="separated")
    loss, gradient = jax.value_and_grad(lambda s: pairwise_auc_loss(s, labels, implementation="tiled"))(
        scores
    )
    expected, slopes = reference(scores, labels, np.ones(len(scores)), "logistic")
    assert expected < 1e-8
    # exp of a float32 difference near 25 carries 25 x 6e-8
    assert loss == pytest.approx(expected, rel=1e-5)
    assert (np.abs(gradient - slopes) <= 2e-5 * np.abs(slopes)).all()


@pytest.mark.parametrize("implementation", ["tiled", "fast"])
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(-50, 50))
def test_only_differences_matter_and_gradients_sum_to_zero(implementation, seed, shift):
    scores, labels = sample(seed, 60)
    labels[:2] = 0, 1
    loss = functools.partial(pairwise_auc_loss, implementation=implementation)
    plain, gradient = jax.value_and_grad(loss)(scores, labels)
    # a shift of 50 rounds float32 scores to 4e-6
    assert loss(scores + np.float32(shift), labels) == pytest.approx(float(plain), rel=2e-5)
    assert abs(float(gradient.sum())) < 1e-6
    order = np.random.default_rng(seed).permutation(60)
    assert loss(scores[order], labels[order]) == pytest.approx(float(plain), rel=1e-6)
    assert loss(-scores, 1 - labels) == pytest.approx(float(plain), rel=1e-6)


@pytest.mark.parametrize("implementation", ["materialized", "tiled"])
def test_what_is_masked_enters_nothing_even_if_it_is_nan(implementation):
    scores, labels = sample(5, 100)
    where = np.arange(100) < 60
    dirty = np.where(where, scores, np.where(np.arange(100) % 2, np.nan, np.inf)).astype(np.float32)
    loss, gradient = jax.value_and_grad(
        lambda s: pairwise_auc_loss(s, labels, where=where, implementation=implementation)
    )(dirty)
    expected = pairwise_auc_loss(scores[:60], labels[:60], implementation=implementation)
    assert loss == pytest.approx(float(expected), rel=1e-6)
    assert np.isfinite(gradient).all() and (np.asarray(gradient)[60:] == 0).all()


@pytest.mark.parametrize("implementation", ["materialized", "tiled"])
@pytest.mark.parametrize("label", [0, 1])
def test_a_missing_class_is_loss_and_gradient_zero_not_nan(implementation, label):
    loss, gradient = jax.value_and_grad(
        lambda s: pairwise_auc_loss(s, jnp.full(9, label), implementation=implementation)
    )(jnp.arange(9.0))
    assert loss == 0 and (np.asarray(gradient) == 0).all()


def test_an_unmasked_nan_reaches_the_loss():
    scores, labels = sample(6, 40)
    scores[3] = np.nan
    assert np.isnan(pairwise_auc_loss(scores, labels))


def test_jit_vmap_and_second_order_agree_with_the_materialized_form():
    scores, labels = sample(7, 50)
    batch = np.stack([scores, scores * 0.5, -scores])
    plain = [float(pairwise_auc_loss(s, labels, implementation="materialized")) for s in batch]
    mapped = jax.jit(jax.vmap(lambda s: pairwise_auc_loss(s, labels, implementation="tiled")))(batch)
    assert np.allclose(mapped, plain, rtol=2e-6)
    tangent = np.random.default_rng(0).normal(size=50).astype(np.float32)
    curved = [
        jax.jvp(
            jax.grad(lambda s, i=i: pairwise_auc_loss(s, labels, implementation=i)), (scores,), (tangent,)
        )[1]
        for i in ("materialized", "tiled")
    ]
    assert np.allclose(*curved, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: pairwise_auc_loss(jnp.ones(3), jnp.ones(2)), "differ in shape"),
        (lambda: pairwise_auc_loss(jnp.ones((3, 1)), jnp.ones((3, 1))), "one-dimensional"),
        (lambda: pairwise_auc_loss(jnp.ones(3), jnp.array([0, 1, 2])), "labels must be 0 or 1"),
        (lambda: pairwise_auc_loss(jnp.ones(2), jnp.array([0, 1]), surrogate="cubic"), "cubic"),
        (lambda: pairwise_auc_loss(jnp.ones(2), jnp.array([0, 1]), implementation="slow"), "slow"),
        (lambda: ScoreBuffers.init("lifo", 4), "lifo"),
        (lambda: ScoreBuffers.init("all", 0), "capacity"),
    ],
)
def test_errors_say_what_was_got(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_auc_counts_ties_half_as_scikit_learn_does():
    from sklearn.metrics import roc_auc_score

    scores, labels = sample(8, 300, "ties")
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)


def test_the_logistic_losses_are_their_definitions():
    scores, labels = sample(9, 200)
    each = np.logaddexp(0, np.where(labels == 1, -1.0, 1.0) * scores.astype(np.float64))
    assert logistic_loss(scores, labels) == pytest.approx(each.mean(), rel=1e-6)
    positives, negatives = int(labels.sum()), int((1 - labels).sum())
    balanced = (each[labels == 1].mean() + each[labels == 0].mean()) / 2
    weighted = class_weighted_logistic_loss(scores, labels, positives=positives, negatives=negatives)
    assert weighted == pytest.approx(balanced, rel=1e-6)


def test_buffers_of_policy_all_hold_the_newest_score_of_every_sample():
    state = ScoreBuffers.init("all", 5)
    state = buffers.update(state, jnp.array([1.0, 2.0, 9.0]), jnp.array([0, 1, 1]), jnp.array([4, 0, 2]),
                           where=jnp.array([True, True, False]), step=3)  # fmt: skip
    state = buffers.update(state, jnp.array([7.0]), jnp.array([1]), jnp.array([0]), step=5)
    assert np.asarray(state.labels).tolist() == [1, -1, -1, -1, 0]  # padding entered nothing
    assert np.asarray(state.scores)[[0, 4]].tolist() == [7.0, 1.0]
    assert np.asarray(state.counts()).tolist() == [1, 1] and np.asarray(state.ages(6)).tolist() == [
        1,
        -1,
        -1,
        -1,
        3,
    ]


def test_a_step_pairs_the_batch_with_stored_scores_of_the_other_class_and_not_with_its_own_past():
    stored = ScoreBuffers.init("all", 6)
    stored = buffers.update(stored, jnp.array([0.3, -0.2, 1.0, 5.0]), jnp.array([0, 0, 1, 1]), jnp.arange(4))
    scores, labels, ids = jnp.array([0.5, -1.0]), jnp.array([1, 0]), jnp.array([3, 4])
    gradient = np.asarray(jax.grad(lambda s: buffered_auc_loss(s, labels, ids, stored))(scores))
    # sample 3's old score of 5 is replaced by its new 0.5; sample 4 joins the negatives
    everything = jnp.array([0.3, -0.2, 1.0, 0.5, -1.0])
    full = np.asarray(jax.grad(lambda s: pairwise_auc_loss(s, jnp.array([0, 0, 1, 1, 0])))(everything))
    assert np.allclose(
        gradient / full[3:], gradient[0] / full[3], rtol=1e-5
    )  # parallel to the full loss's gradient
    assert gradient[0] < 0 < gradient[1]


def test_a_reservoir_keeps_every_offered_score_with_the_same_probability():
    kept = np.zeros(40)
    for trial in range(150):
        state = ScoreBuffers.init("reservoir", 8)
        for k in range(0, 40, 10):
            ids = jnp.arange(k, k + 10)
            key = jax.random.fold_in(jax.random.key(trial), k)
            state = buffers.update(state, ids.astype(jnp.float32), jnp.zeros(10, int), ids, key=key)
        held = np.asarray(state.ids)
        kept[held[held >= 0]] += 1
    # 150 draws of probability 1/5: mean 30, standard deviation 4.9; four deviations over 40 samples
    assert kept.sum() == 150 * 8 and np.abs(kept - 30).max() < 4.2 * 4.9


@pytest.mark.parametrize(
    "policy, capacity, off",
    # 400 negatives and 40 positives. The error of a mean over k partners is some 1 / sqrt(k) of a slope's deviation, for
    # these scores a third of its mean: 0.05 at 40, and the fifo's batches are no random sample
    [
        ("all", 440, 1e-6),
        ("reservoir", 500, 1e-6),
        ("reservoir", 100, 0.08),
        ("reservoir", 30, 0.12),
        ("fifo", 100, 0.08),
    ],
)
def test_the_mean_gradient_of_epochs_is_that_of_the_full_loss(policy, capacity, off):
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], [400, 40])[rng.permutation(440)]
    scores = (rng.normal(size=440) + labels).astype(np.float32)
    state = ScoreBuffers.init(policy, capacity)
    total, epochs = np.zeros(440), 6

    @jax.jit
    def step(state, chosen, key):
        s, y = jnp.asarray(scores)[chosen], jnp.asarray(labels)[chosen]
        slopes = jax.grad(lambda s: buffered_auc_loss(s, y, chosen, state))(s)
        return buffers.update(state, s, y, chosen, key=key), slopes * len(chosen) / 440

    for turn in range(epochs):
        for k, chosen in enumerate(rng.permutation(440).reshape(-1, 22)):
            key = jax.random.fold_in(jax.random.key(turn), k)
            state, slopes = step(state, jnp.asarray(chosen, jnp.int32), key)
            if turn:  # the first one fills them
                total[chosen] += np.asarray(slopes) / (epochs - 1)
    _, expected = reference(scores, labels, np.ones(440), "logistic")
    assert np.linalg.norm(total - expected) <= off * np.linalg.norm(expected)


def test_the_library_imports_jax_and_numpy_alone():
    program = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        top = name.split('.')\n"
        "        if top[0] in ('flax', 'optax', 'orbax', 'grain', 'tensorflow_datasets', 'sklearn', 'pydicom', 'absl') or (\n"
        "                top[0] == 'mammojax' and len(top) > 1 and top[1] != 'losses'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "import jax.numpy as jnp\nfrom mammojax.losses import pairwise_auc_loss\n"
        "print(float(pairwise_auc_loss(jnp.array([2.0, -1.0, 0.5]), jnp.array([1, 0, 0]))))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx((np.log1p(np.exp(-3)) + np.log1p(np.exp(-1.5))) / 2, rel=1e-6)


def test_the_examples_in_the_docstrings_and_in_the_docs_are_true():
    import doctest
    from pathlib import Path

    from mammojax.losses import pairwise, pointwise

    # the package's function hides the module of the same name
    for module in (pairwise, pointwise, sys.modules["mammojax.losses.auc"]):
        result = doctest.testmod(module)
        assert result.attempted >= 1 and result.failed == 0, module
    page = Path(__file__).parents[2] / "docs/losses.md"
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted >= 15 and result.failed == 0
