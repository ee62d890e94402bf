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
    class_weighted_logistic_loss,
    logistic_loss,
    pairwise_auc_loss,
)
from tests.losses.float64 import PAIRS, all_pairs
from tests.losses.programs import value_and_gradient


def sample(seed, size=700, kind="overlap"):
    rng = np.random.default_rng(seed)
    labels = (rng.random(size) < 0.2).astype(np.int32)
    scores = rng.normal(size=size) + labels
    if kind == "ties":
        scores = np.round(scores * 2) / 2
    if kind == "separated":
        scores = rng.normal(size=size) + 25 * labels
    return scores.astype(np.float32), labels


@pytest.mark.parametrize("surrogate", list(PAIRS))
@pytest.mark.parametrize("kind", ["overlap", "ties"])
def test_the_specification_is_the_definition(surrogate, kind):
    scores, labels = sample(0, kind=kind)
    weights = np.random.default_rng(1).uniform(0.2, 3, len(scores)).astype(np.float32)
    loss, gradient = value_and_gradient("materialized", scores, labels, weights, surrogate=surrogate)
    expected, slopes = all_pairs(scores, labels, weights, surrogate)
    # float32 differences of scores of size 3 carry 2e-7; sums of some 140 x 560 compensated or in tree order add little
    assert loss == pytest.approx(expected, rel=3e-6)
    assert np.abs(gradient - slopes).max() <= 5e-6 * np.abs(slopes).max()


@pytest.mark.parametrize("implementation", ["tiled", "fast"])
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(-50, 50))
def test_only_differences_matter_and_gradients_sum_to_zero(implementation, seed, shift):
    scores, labels = sample(seed, 60)
    labels[:2] = 0, 1
    loss = functools.partial(value_and_gradient, implementation)
    plain, gradient = loss(scores, labels)
    # a shift of 50 rounds float32 scores to 4e-6
    assert loss(scores + np.float32(shift), labels)[0] == pytest.approx(plain, rel=2e-5)
    assert abs(gradient.sum()) < 1e-6
    order = np.random.default_rng(seed).permutation(60)
    assert loss(scores[order], labels[order])[0] == pytest.approx(plain, rel=1e-6)
    assert loss(-scores, 1 - labels)[0] == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize("implementation", ["materialized", "tiled", "fast"])
@pytest.mark.parametrize("label", [0, 1])
def test_a_missing_class_is_loss_and_gradient_zero_not_nan(implementation, label):
    loss, gradient = value_and_gradient(implementation, np.arange(9.0), np.full(9, label))
    assert loss == 0 and (gradient == 0).all()


@pytest.mark.parametrize("implementation", ["materialized", "tiled", "fast"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_an_unmasked_score_that_is_none_reaches_the_loss(implementation, wrong):
    scores, labels = sample(6, 40)
    scores[3] = wrong
    assert np.isnan(value_and_gradient(implementation, scores, labels)[0])


def test_a_nan_among_the_samples_that_a_partial_loss_leaves_out_reaches_it_too():
    scores, labels = sample(6, 40)
    for at in (int(np.argmax(labels)), int(np.argmin(labels))):
        broken = scores.copy()
        broken[at] = np.nan
        assert np.isnan(
            pairwise_auc_loss(broken, labels, max_fpr=0.2, min_tpr=0.5, implementation="materialized")
        )


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
