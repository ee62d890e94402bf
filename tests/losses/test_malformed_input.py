"""What no loss can make sense of is an error, or NaN where it is traced: never a finite wrong number."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mammojax.losses import (
    AUCMVariables,
    ScoreBuffers,
    auc,
    aucm_loss,
    aucm_saddle,
    average_precision_loss,
    buffered_auc_loss,
    buffers,
    class_weighted_logistic_loss,
    fast_path,
    logistic_loss,
    multilabel_auc_loss,
    pairwise_auc_loss,
    soft_partial_auc_loss,
    two_pass,
)
from mammojax.losses.surrogates import SURROGATES
from tests.losses.float64 import all_pairs
from tests.losses.programs import value_and_gradient

SCORES = np.array([2.0, -1.0, 0.5, 0.1], np.float32)
LABELS = np.array([1, 0, 0, 1])
IMPLEMENTATIONS = ("materialized", "tiled", "fast")


def stored():
    filled = ScoreBuffers.init("all", 8)
    return buffers.update(filled, jnp.array([0.3, -0.2]), jnp.array([0, 1]), jnp.array([6, 7]))


def losses():
    """Each loss as a function of (scores, labels, where=, weights=), in forms that compile quickly."""
    plain = functools.partial(pairwise_auc_loss, implementation="materialized")

    def partial(scores, labels, **kw):
        return plain(scores, labels, max_fpr=0.6, min_tpr=0.2, **kw)

    def buffered(scores, labels, **kw):
        ids = jnp.arange(len(scores))
        return buffered_auc_loss(scores, labels, ids, stored(), implementation="materialized", **kw)

    def aucm(scores, labels, **kw):
        return aucm_loss(scores, labels, AUCMVariables.init(), **kw)

    def weighted(scores, labels, **kw):
        return class_weighted_logistic_loss(scores, labels, positives=1, negatives=3, **kw)

    return {"pairwise": plain, "partial": partial, "buffered": buffered, "aucm": aucm, "logistic": logistic_loss,
            "weighted": weighted, "auc": auc}  # fmt: skip


@pytest.mark.parametrize("name", [*losses(), "tiled", "fast"])
def test_labels_that_are_traced_and_weights_give_nan_with_nan_gradients_where_they_are_none(name):
    if name in IMPLEMENTATIONS:
        f = functools.partial(value_and_gradient, name)
    else:
        loss = losses()[name]
        f = jax.jit(jax.value_and_grad(lambda s, y, w: loss(s, y, weights=w)))
    ones = np.ones(4, np.float32)
    value, gradient = f(SCORES, LABELS.astype(np.float32), ones)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    for labels in (2 * LABELS - 1, LABELS * 5, np.where(LABELS == 1, 0.9, 0.1), np.where(LABELS, 1, np.nan)):
        value, gradient = f(SCORES, labels.astype(np.float32), ones)
        assert np.isnan(value)
        assert name == "auc" or np.isnan(gradient).all()  # the AUC is a step function: no gradient
    for wrong in (-1, np.nan, np.inf):
        value, gradient = f(SCORES, LABELS.astype(np.float32), np.array([1, 1, wrong, 1], np.float32))
        assert np.isnan(value) and (name == "auc" or np.isnan(gradient).all())


@pytest.mark.parametrize("name", losses())
def test_masked_labels_and_weights_may_be_anything(name):
    loss, where = losses()[name], np.array([True, True, True, True, False])
    labels, weights = np.append(LABELS, 7).astype(np.float32), np.array([1, 2, 1, 1, np.nan], np.float32)
    found = jax.jit(lambda s, y, w: loss(s, y, weights=w, where=where))(np.append(SCORES, 3), labels, weights)
    expected = loss(SCORES, LABELS, weights=weights[:4])
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("name", losses())
def test_the_score_of_a_sample_that_weighs_nothing_may_be_anything(name):
    loss, weights = losses()[name], np.array([1, 2, 1, 1, 0], np.float32)
    labels = np.append(LABELS, 1)
    program = jax.jit(jax.value_and_grad(lambda s: loss(s, labels, weights=weights)))
    expected = loss(SCORES, LABELS, weights=weights[:4])
    for score in (np.nan, np.inf, 3.0):
        value, gradient = program(np.append(SCORES, np.float32(score)))
        assert float(value) == pytest.approx(float(expected), rel=1e-6)
        assert np.isfinite(gradient).all() and gradient[4] == 0


@pytest.mark.parametrize("name", losses())
def test_labels_and_mask_may_both_be_arrays_that_jit_closes_over(name):
    loss, labels, where = losses()[name], jnp.asarray(LABELS), jnp.array([True, True, True, False])
    assert jax.eval_shape(lambda s: loss(s, labels, where=where), SCORES).shape == ()
    wrong = labels.at[1].set(2)
    with pytest.raises(ValueError, match="labels must be 0 or 1, got 2 at position 1"):
        jax.eval_shape(lambda s: loss(s, wrong, where=where), SCORES)


@pytest.mark.parametrize("name", [*losses(), "tiled", "fast"])
def test_an_empty_batch_is_zero(name):
    nothing = np.zeros(0, np.float32), np.zeros(0, np.int32)
    loss = losses().get(name) or functools.partial(pairwise_auc_loss, implementation=name)
    value, gradient = jax.jit(jax.value_and_grad(loss))(*nothing)
    assert gradient.shape == (0,)
    assert np.isnan(value) if name == "auc" else float(value) == 0


def test_an_empty_batch_goes_through_the_buffers_too():
    before = stored()
    nothing = jnp.zeros(0), jnp.zeros(0, int), jnp.zeros(0, int)
    after = buffers.update(before, *nothing, correct_drift=True)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), before, after)))
    assert float(buffers.drift(before, *nothing)) == 0 and int(fast_path(*nothing[:2])) == 0


def test_weights_of_any_size_weigh_by_their_ratios():
    rng = np.random.default_rng(0)
    labels = (np.arange(60) % 3 == 0).astype(np.int32)
    scores, weights = rng.normal(size=60).astype(np.float32), rng.uniform(0.5, 2, 60)
    expected, slopes = all_pairs(scores, labels, weights)
    for implementation in IMPLEMENTATIONS:
        for size in (1e-30, 1e-20, 1.0, 1e18, 1e30):  # products of two leave float32 at both ends
            loss, gradient = value_and_gradient(implementation, scores, labels, weights * size)
            assert loss == pytest.approx(expected, rel=2e-6)
            assert np.allclose(gradient, slopes, rtol=5e-6)
    for size in (1e-30, 1e30):
        area = auc(scores, labels, weights=(weights * size).astype(np.float32))
        assert float(area) == pytest.approx(float(auc(scores, labels, weights=weights)), rel=1e-6)


def traced_calls():
    """Every call of the library, traced and not run: (name, function without arguments)."""
    scores, labels, ids = jnp.asarray(SCORES), jnp.asarray(LABELS), jnp.arange(4)
    big, many = jnp.zeros(200_000), jnp.zeros(200_000, int)

    def gradient(f, *args):
        return lambda: jax.eval_shape(jax.value_and_grad(f), *args)

    calls = {}
    for name in SURROGATES:
        for implementation in IMPLEMENTATIONS:
            f = functools.partial(pairwise_auc_loss, surrogate=name, implementation=implementation,
                                  margin=0.3, temperature=0.7, max_fpr=0.5, min_tpr=0.1)  # fmt: skip
            calls[f"{name} {implementation}"] = gradient(f, scores, labels)
            if implementation == "fast":  # by chunks
                calls[f"{name} {implementation}, many"] = gradient(f, big, many)
            calls[f"{name} {implementation}, curvature"] = lambda f=f: jax.eval_shape(
                jax.grad(lambda s: jnp.sum(jax.grad(f)(s, labels) * scores)), scores
            )
    calls["half precision"] = gradient(
        lambda s, y: pairwise_auc_loss(s, y, weights=jnp.ones(4), where=y >= 0), scores.astype(jnp.bfloat16), labels
    )  # fmt: skip
    for policy in ("all", "reservoir", "fifo"):
        filled = ScoreBuffers.init(policy, 8)
        calls[f"loss beside {policy}"] = gradient(
            lambda s, b=filled: buffered_auc_loss(s, labels, ids, b, weights=jnp.ones(4), correct_drift=True), scores
        )  # fmt: skip
        calls[f"update of {policy}"] = lambda b=filled: jax.eval_shape(
            lambda s, k: buffers.update(b, s, labels, ids, key=k, step=3, where=labels == 1, correct_drift=True),
            scores, jax.random.key(0),
        )  # fmt: skip
        calls[f"facts of {policy}"] = lambda b=filled: (b.counts(), b.ages(4), b.mean_age(4))
    calls["auc"] = lambda: jax.eval_shape(lambda s, y: auc(s, y, weights=jnp.ones(4)), scores, labels == 1)
    calls["fast_path"] = lambda: jax.eval_shape(fast_path, scores, labels)
    calls["aucm"] = gradient(lambda s: aucm_loss(s, labels, AUCMVariables.init(), positive_share=0.2), scores)
    calls["logistic"] = gradient(logistic_loss, scores, labels)
    calls["weighted"] = gradient(
        functools.partial(class_weighted_logistic_loss, positives=2, negatives=3), scores, labels
    )
    columns = jnp.stack([scores, scores], 1), jnp.stack([labels, labels], 1)
    for kind, given in (("labels", columns[1]), ("booleans", columns[1] == 1)):
        calls[f"several {kind}"] = gradient(
            lambda s, y: multilabel_auc_loss(s, y, where=s > 0, weights=s, label_weights=jnp.ones(2)),
            columns[0],
            given,
        )
    calls["groups"] = gradient(lambda s: pairwise_auc_loss(s, labels == 1, groups=ids, exclude=ids), scores)
    calls["soft partial"] = gradient(
        lambda s: soft_partial_auc_loss(s, labels == 1, positive_softness=1.0, weights=jnp.ones(4)), scores
    )
    calls["average precision"] = gradient(lambda s: average_precision_loss(s, labels == 1), scores)
    calls["saddle"] = lambda: jax.eval_shape(aucm_saddle, scores, labels == 1)
    batches = [(SCORES[:, None], LABELS, None)]
    calls["two_pass"] = lambda: two_pass(lambda p, x: x @ p, logistic_loss)(np.ones(1, np.float32), batches)
    return calls


@pytest.mark.parametrize("wide", [False, True])
def test_strict_promotion_of_ranks_and_dtypes_breaks_no_call(wide):
    failed = {}
    with jax.enable_x64(wide):
        calls = traced_calls()
        with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
            for name, call in calls.items():
                try:
                    call()
                except Exception as error:
                    failed[name] = f"{type(error).__name__}: {str(error)[:150]}"
    assert not failed
