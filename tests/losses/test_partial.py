"""Partial AUC: the loss over the hardest negatives and the hardest positives, by numpy's sort."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammojax.losses import pairwise_auc_loss
from mammojax.losses.partial import hardest
from tests.losses.float64 import all_pairs, worst


def sample(seed=0, size=400):
    rng = np.random.default_rng(seed)
    labels = (rng.random(size) < 0.25).astype(np.int32)
    labels[:2] = 0, 1
    return (rng.normal(size=size) + labels).astype(np.float32), labels


def test_the_partial_loss_is_the_loss_of_the_samples_that_are_left():
    scores, labels = sample()
    negatives, positives = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    hard = negatives[np.argsort(-scores[negatives])][: len(negatives) // 4]
    low = positives[np.argsort(scores[positives])][: len(positives) // 2]
    kept = np.sort(np.concatenate([hard, low]))
    shares = {"max_fpr": len(hard) / len(negatives), "min_tpr": 1 - len(low) / len(positives)}
    expected, slopes = all_pairs(scores[kept], labels[kept])
    for implementation in ("materialized", "tiled", "fast"):
        loss = functools.partial(pairwise_auc_loss, labels=labels, implementation=implementation, **shares)
        value, gradient = jax.jit(jax.value_and_grad(loss))(scores)
        # a share is a Python float: the weight of the last sample may be 1e-15 short, nothing in float32
        assert float(value) == pytest.approx(expected, rel=2e-6)
        assert worst(np.asarray(gradient)[kept], slopes) < 5e-6
        assert (np.delete(np.asarray(gradient), kept) == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 1), st.floats(0, 0.98), st.booleans())
def test_the_kept_weight_is_exact_and_ties_share_alike(seed, max_fpr, min_tpr, tied):
    scores, labels = sample(seed, 60)
    scores = np.round(scores) if tied else scores
    weights = np.random.default_rng(seed).uniform(0, 3, 60).astype(np.float32)
    positive, negative = np.where(labels == 1, weights, 0), np.where(labels == 0, weights, 0)
    p, n = (np.asarray(x, np.float64) for x in
            hardest(scores, positive, negative, max_fpr=max_fpr, min_tpr=min_tpr))  # fmt: skip
    # sums of 60 float32 weights
    assert n.sum() == pytest.approx(max_fpr * negative.sum(), rel=1e-5, abs=1e-6)
    assert p.sum() == pytest.approx((1 - min_tpr) * positive.sum(), rel=1e-5, abs=1e-6)
    for kept, whole, harder in ((n, negative, -scores), (p, positive, scores)):
        shares = np.where(whole > 0, kept / np.where(whole > 0, whole, 1), np.nan)
        for value in np.unique(harder[whole > 0]):
            here = shares[(harder == value) & (whole > 0)]
            assert np.ptp(here) < 1e-5
            # nobody harder is left out before it
            assert (shares[(harder < value) & (whole > 0)] >= here.max() - 1e-5).all()


@pytest.mark.parametrize("shares", [{"max_fpr": 0.0}, {"max_fpr": 1.5}, {"min_tpr": 1.0}, {"min_tpr": -0.1}])
def test_shares_outside_their_range_are_errors(shares):
    scores, labels = sample()
    with pytest.raises(ValueError, match=f"{next(iter(shares))} must be"):
        pairwise_auc_loss(scores, labels, **shares)
