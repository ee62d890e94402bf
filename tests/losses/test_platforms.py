"""The forms of other platforms, run on the CPU: two float32 in place of float64, products in place of scatters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mammojax.losses import (
    ScoreBuffers,
    auc,
    buffered_auc_loss,
    choose_implementation,
    pairwise_auc_loss,
    platforms,
    wide,
)
from mammojax.losses.partial import hardest
from mammojax.losses.running import runs
from mammojax.losses.surrogates import SURROGATES
from tests.losses.float64 import all_pairs, worst
from tests.losses.test_accuracy import BARS, CASES, case


@pytest.fixture
def tpu(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert not platforms.here().float64


def as_float64(x):
    assert isinstance(x, wide.Double) and x.high.dtype == np.float32
    return np.asarray(x.high, np.float64) + np.asarray(x.low, np.float64)


def test_two_float32_keep_48_bits_whatever_the_compiler_does(tpu):
    rng = np.random.default_rng(0)
    a = (10 ** rng.uniform(-6, 6, 5000)).astype(np.float32)
    b = rng.normal(size=5000).astype(np.float32)

    @jax.jit
    def found(a, b):
        a, b = wide.widen(a), wide.widen(b)
        third = a / 3
        return third, third * b, third - a, 1.1 - third, wide.total(third * b)

    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    third = wide_a / 3
    expected = third, third * wide_b, third - wide_a, 1.1 - third, (third * wide_b).sum()
    for x, y in zip(found(a, b), expected):
        # a few units of 2^-48 of the terms, which are up to 1.1 where 1.1 - a/3 cancels to 1e-4
        assert np.max(np.abs(as_float64(x) - y) / np.abs(y)) < 1e-12


def test_a_million_equal_numbers_do_not_drift(tpu):
    # in float32 their sum is off by 2e-3; exact here, as it is in float64
    total = jax.jit(lambda x: wide.total(wide.widen(x)))(np.full(10**6, 0.3777, np.float32))
    assert as_float64(total) == pytest.approx(float(np.float32(0.3777)) * 1e6, rel=1e-14)


def test_weights_before_and_in_runs_of_equal_keys_are_those_of_numpy(tpu):
    rng = np.random.default_rng(1)
    keys = np.sort(rng.integers(0, 40, 500)).astype(np.float32)
    weights = (10 ** rng.uniform(-3, 3, 500)).astype(np.float32)
    before, run = jax.jit(lambda k, w: runs(k, wide.widen(w)))(keys, weights)
    of_run = np.bincount(keys.astype(int), weights)
    starts = np.concatenate([[0], np.cumsum(of_run)[:-1]])
    np.testing.assert_allclose(as_float64(run), of_run[keys.astype(int)], rtol=1e-10)
    np.testing.assert_allclose(as_float64(before), starts[keys.astype(int)], rtol=1e-12)


def holds_its_accuracy(implementation, surrogate, names, slopes=None, **pair):
    f = functools.partial(pairwise_auc_loss, implementation=implementation, surrogate=surrogate, **pair)
    program = jax.jit(jax.value_and_grad(lambda s, y, w: f(s, y, weights=w)))
    for name in names:
        scores, labels, weights = case(name, 700)
        given = np.ones_like(scores) if weights is None else weights
        loss, gradient = program(scores, labels, given)
        expected, expected_slopes = all_pairs(scores, labels, weights, surrogate=surrogate, **pair)
        bars = BARS[implementation]
        assert abs(float(loss) - expected) <= bars[0] * expected, name
        assert worst(gradient, expected_slopes) <= (slopes or bars[1]), name


def test_the_logistic_loss_holds_its_accuracy_by_products(tpu):
    holds_its_accuracy("fast", "logistic", CASES)


@pytest.mark.parametrize(
    "surrogate, implementation",
    [
        ("square", "fast"),
        *(
            pytest.param(*form, marks=pytest.mark.slow)
            for form in (
                ("sigmoid", "fast"),
                ("hinge", "fast"),
                ("squared_hinge", "fast"),
                ("square", "tiled"),
            )
        ),
    ],
)
def test_other_surrogates_hold_it_with_margin_and_temperature(tpu, surrogate, implementation):
    # the slopes of square: see test_accuracy.py
    slopes = 2e-5 if surrogate == "square" else None
    names = "ties", "weights over six decades", "clusters 1e5 apart"
    holds_its_accuracy(implementation, surrogate, names, slopes, margin=0.3, temperature=0.7)


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.05, 1.0])
def test_a_quarter_million_scores_in_few_cells_do_not_drift(tpu, spread):
    # 60 chunks; from 500 different values, so that the pairs of the reference are few
    rng = np.random.default_rng(1)
    values = (0.3777 + rng.normal(size=500) * spread).astype(np.float32)
    which = rng.integers(0, len(values), 1 << 18)
    labels = (rng.random(len(which)) < 0.1).astype(np.int32)
    p, n = (np.bincount(which[labels == c], minlength=len(values)).astype(np.float32) for c in (1, 0))
    f = jax.jit(jax.value_and_grad(functools.partial(pairwise_auc_loss, implementation="fast")))
    loss, gradient = f(values[which], labels)
    both = np.concatenate([values, values])
    classes = np.repeat([1, 0], len(values))
    expected, slopes = all_pairs(both, classes, np.concatenate([p, n]))
    of_one = slopes / np.maximum(np.concatenate([p, n]), 1)
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    assert worst(gradient, of_one[which + len(values) * (labels == 0)]) <= 5e-6


def test_the_auc_is_that_of_scikit_learn(tpu):
    rng = np.random.default_rng(0)
    labels = (rng.random(900) < 0.2).astype(np.int32)
    scores = (np.round(8 * rng.normal(size=900) + 6 * labels) / 8).astype(np.float32)
    weights = (10 ** rng.uniform(-3, 3, 900)).astype(np.float32)
    found = jax.jit(auc)(scores, labels, weights=weights)
    assert float(found) == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights), rel=2e-7)


@pytest.mark.slow
def test_partial_auc_and_loss_keep_the_shares_that_were_asked_for(tpu):
    rng = np.random.default_rng(0)
    labels = (rng.random(900) < 0.2).astype(np.int32)
    scores = (np.round(8 * rng.normal(size=900) + 6 * labels) / 8).astype(np.float32)
    weights = (10 ** rng.uniform(-3, 3, 900)).astype(np.float32)
    expected = roc_auc_score(labels, scores, sample_weight=weights, max_fpr=0.13)
    assert float(auc(scores, labels, weights=weights, max_fpr=0.13)) == pytest.approx(expected, rel=2e-7)
    positive, negative = ((labels == c) * weights for c in (1, 0))
    kept = jax.jit(functools.partial(hardest, max_fpr=0.1, min_tpr=0.4))(scores, positive, negative)
    for part, whole, share in ((kept[0], positive, 0.6), (kept[1], negative, 0.1)):
        assert np.asarray(part, np.float64).sum() == pytest.approx(
            share * whole.sum(dtype=np.float64), rel=2e-7
        )


def test_each_platform_changes_to_fast_at_its_own_size(monkeypatch):
    for name in (*platforms.PLATFORMS, "one of next year"):
        monkeypatch.setattr(jax, "default_backend", lambda name=name: name)
        for surrogate, definition in SURROGATES.items():
            first = getattr(definition.crossover, name if name in platforms.PLATFORMS else "tpu")
            ways = [choose_implementation(size, surrogate)[0] for size in (first - 1, first)]
            assert ways == ["tiled", "fast"]


def test_no_program_asks_for_float64(tpu):
    scores, labels = jnp.zeros(300), jnp.zeros(300, jnp.int32)
    stored = ScoreBuffers.init("reservoir", 64)
    programs = [lambda s, y: buffered_auc_loss(s, y, y, stored, implementation="tiled", surrogate="square")]
    programs += [
        jax.grad(functools.partial(pairwise_auc_loss, surrogate=name, implementation="fast"))
        for name in SURROGATES
    ]
    for program in programs:
        assert "f64" not in str(jax.make_jaxpr(program)(scores, labels))
