"""Platt's calibration against a general optimiser, at its boundary, and the reliability diagram."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mammojax.errors import UserError
from mammojax.evaluation.calibration import Platt, fit_platt, reliability


def cross_entropy(slope, intercept, scores, labels):
    p, n = labels.sum(), (1 - labels).sum()
    targets = np.where(labels == 1, (p + 1) / (p + 2), 1 / (n + 2))
    z = slope * scores + intercept
    return np.sum(np.logaddexp(0, z) - targets * z)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(4, 60), shift=st.floats(0, 6), outlier=st.floats(0, 1e4))
def test_no_calibration_with_a_rising_slope_fits_better(seed, size, shift, outlier):
    rng = np.random.default_rng(seed)
    labels = np.append([0, 1], rng.integers(0, 2, size - 2))
    scores = rng.normal(size=size) + shift * labels
    scores[rng.integers(size)] += outlier
    platt = fit_platt(scores, labels)
    found = minimize(
        lambda v: cross_entropy(*v, scores, labels), [0.1, 0.0], bounds=[(0, None), (None, None)]
    )
    # the optimiser stops 1e-6 or so above the optimum; a slope of 1e-6 instead of 0 costs less than that
    assert platt.slope > 0
    assert cross_entropy(platt.slope, platt.intercept, scores, labels) <= found.fun + 1e-5 * size


@given(scale=st.floats(1e-6, 1e6), offset=st.floats(-1e3, 1e3))
@settings(max_examples=15, deadline=None)
def test_scale_and_offset_of_a_network_leave_the_log_odds_as_they_are(scale, offset):
    rng = np.random.default_rng(1)
    labels = np.arange(40) % 2
    scores = rng.normal(size=40) + labels
    plain, moved = fit_platt(scores, labels), fit_platt(scale * (scores + offset), labels)
    # offsets of 1e3 cost three of sixteen digits in the scores, Newton's method stops at about nine
    np.testing.assert_allclose(moved.log_odds(scale * (scores + offset)), plain.log_odds(scores), atol=1e-6)


def test_scores_of_the_wrong_order_give_everyone_the_prior_and_keep_their_order():
    scores, labels = np.arange(20.0), (np.arange(20) < 10).astype(int)
    log_odds = fit_platt(scores, labels).log_odds(scores)
    np.testing.assert_allclose(log_odds, 0, atol=1e-5)  # ten of twenty; the slope is 1e-6 a deviation
    assert (np.diff(log_odds) > 0).all()


def test_without_any_positive_the_prior_is_smoothed_and_not_minus_infinity():
    platt = fit_platt(np.arange(8.0), np.zeros(8, int))
    assert platt.probability(3.0) == pytest.approx(1 / 10, abs=1e-5)  # one of N + 2


@pytest.mark.parametrize("value", [None, {}, {"slope": 1}, {"slope": -1, "intercept": 0}, {"slope": "x", "intercept": 0},
                                   {"slope": float("nan"), "intercept": 0}])  # fmt: skip
def test_a_damaged_calibration_is_refused_in_one_line(value):
    with pytest.raises(UserError) as error:
        Platt.from_json(value)
    assert "\n" not in str(error.value)


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="1 of 2 scores"):
        fit_platt([0.0, np.nan], [0, 1])


def test_the_reliability_of_true_probabilities_lies_on_the_diagonal():
    rng = np.random.default_rng(0)
    log_odds = rng.normal(size=20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-log_odds))).astype(int)
    found = reliability(log_odds, labels)
    assert found.images.sum() == 20_000 and np.ptp(found.images) <= 1
    # 2000 images a group: a standard error of at most 0.011; four of them, for ten groups
    np.testing.assert_allclose(found.observed, found.predicted, atol=0.045)
    assert ((found.low < found.observed) & (found.observed < found.high)).all()


def test_equal_probabilities_stay_in_one_group():
    found = reliability(np.array([0.0] * 7 + [1.0] * 3), np.array([0, 1] * 5))
    assert list(found.images) == [7, 3]
