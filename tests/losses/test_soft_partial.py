"""The smooth partial AUC loss is its definition, and lies between the mean and the hardest pair."""

import functools

import jax
import numpy as np
import pytest

from mammojax.losses import soft_partial_auc_loss
from tests.losses.float64 import all_pairs, softplus


def sample(size=50):
    rng = np.random.default_rng(0)
    labels = (rng.random(size) < 0.3).astype(np.int32)
    return (rng.normal(size=size) + labels).astype(np.float32), labels, rng.uniform(0.5, 2, size)


def reference(scores, labels, weights, softness, positive_softness):
    """By the definition, float64."""
    s, w = scores.astype(np.float64), weights.astype(np.float32).astype(np.float64)
    p, n = labels == 1, labels == 0

    def mean(costs, weights, softness):
        return softness * np.log(np.sum(weights * np.exp(costs / softness), axis=-1) / weights.sum())

    each = mean(softplus(s[n][None] - s[p][:, None]), w[n], softness)
    if positive_softness is None:
        return (w[p] * each).sum() / w[p].sum()
    return mean(each, w[p], positive_softness)


@functools.cache
def program(softness, positive_softness=None):
    loss = functools.partial(soft_partial_auc_loss, softness=softness, positive_softness=positive_softness)
    return jax.jit(jax.value_and_grad(lambda s, y, w, m: loss(s, y, weights=w, where=m)))


@pytest.mark.parametrize("positive_softness", [None, 0.7])
def test_value_and_slopes_are_those_of_the_definition(positive_softness):
    scores, labels, weights = sample()
    where = np.arange(50) % 5 > 0
    dirty = np.where(where, scores, np.nan).astype(np.float32)
    loss, gradient = program(0.3, positive_softness)(dirty, labels, weights.astype(np.float32), where)
    kept = [x[where] for x in (scores, labels, weights)]
    expected = functools.partial(reference, softness=0.3, positive_softness=positive_softness)
    assert float(loss) == pytest.approx(expected(*kept), rel=1e-5)
    for at, k in list(enumerate(np.flatnonzero(where)))[::5]:  # central differences in float64: good to 1e-9
        step = np.zeros(len(kept[0]))
        step[at] = 1e-5
        up, down = (expected(kept[0] + sign * step, *kept[1:]) for sign in (1, -1))
        assert gradient[k] == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-7)
    assert (np.asarray(gradient)[~where] == 0).all()


def test_from_the_mean_over_all_pairs_to_the_hardest_negative():
    scores, labels, _ = sample()
    ones = np.ones(50, np.float32)
    # the first differs by the variance of the pair losses over 2 softness, the second by softness times log N
    assert float(program(1e4)(scores, labels, ones, ones > 0)[0]) == pytest.approx(
        all_pairs(scores, labels)[0], rel=1e-3
    )
    hardest = softplus(scores[labels == 0].max() - scores[labels == 1]).mean()
    assert float(program(1e-3)(scores, labels, ones, ones > 0)[0]) == pytest.approx(hardest, abs=5e-3)


@pytest.mark.parametrize("positive_softness", [None, 1e6])
def test_a_softness_beyond_all_costs_leaves_the_mean_over_all_pairs(positive_softness):
    scores, labels, weights = sample()
    weights = weights.astype(np.float32)
    for scale in (
        1,
        300,
    ):  # costs of 1, of several hundred: the variance of these over 2 softness is 2e-5 of their mean
        loss, gradient = program(1e6, positive_softness)(scale * scores, labels, weights, weights > 0)
        expected, slopes = all_pairs(scale * scores, labels, weights)
        assert float(loss) == pytest.approx(expected, rel=1e-6 if scale == 1 else 1e-3)
        assert np.abs(gradient - slopes).max() < 2e-3 * np.abs(slopes).max()


def test_scores_far_apart_overflow_nothing_and_what_is_none_is_nan():
    scores, labels, _ = sample()
    ones = np.ones(50, np.float32)
    loss, gradient = program(1e-3)(1e4 * scores, labels, ones, ones > 0)
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    loss, gradient = program(1e-3)(scores, 0 * labels, ones, ones > 0)
    assert float(loss) == 0 and (np.asarray(gradient) == 0).all()
    scores[3] = np.inf
    assert np.isnan(program(1e-3)(scores, labels, ones, ones > 0)[0])
    with pytest.raises(ValueError, match="softness must be above 0 and finite, got 0"):
        soft_partial_auc_loss(scores, labels, softness=0)
