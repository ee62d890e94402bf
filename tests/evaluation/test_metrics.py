"""Metrics against scikit-learn, under weights against copies of the samples, and in any order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from mammojax.evaluation.metrics import METRICS, Ranking, area, auc, average_precision, sensitivity_at


def reference(name, labels, scores):
    if name == "average_precision":
        return average_precision_score(labels, scores)
    if name == "sensitivity_at_90":
        false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
        return true[false <= 0.1 + 1e-12].max()
    return roc_auc_score(labels, scores)


def study(seed, size, values):
    rng = np.random.default_rng(seed)
    labels = np.append([0, 1], rng.integers(0, 2, size))
    return rng.integers(0, values, size + 2) / 3, labels, rng


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(0, 60), values=st.integers(1, 40))
def test_every_metric_is_scikit_learns_with_ties(seed, size, values):
    scores, labels, _ = study(seed, size, values)
    ranking = Ranking(scores, labels)
    for name, metric in METRICS.items():
        (value,) = ranking.measure(metric.of, np.ones((size + 2, 1)))
        assert value == pytest.approx(reference(name, labels, scores), abs=1e-12), name


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(2, 40), values=st.integers(1, 40))
def test_a_weight_counts_as_so_many_copies(seed, size, values):
    scores, labels, rng = study(seed, size, values)
    weights = rng.integers(0, 4, (size + 2, 5)).astype(float)
    for name, metric in METRICS.items():
        found = Ranking(scores, labels).measure(metric.of, weights)
        for column, value in zip(weights.T.astype(int), found):
            y, s = np.repeat(labels, column), np.repeat(scores, column)
            if 0 < y.sum() < len(y):
                assert value == pytest.approx(reference(name, y, s), abs=1e-12)
            else:
                assert np.isnan(value)


def test_the_order_of_samples_and_the_number_of_resamples_held_at_once_change_no_bit():
    scores, labels, rng = study(3, 200, 60)
    weights = rng.integers(0, 3, (202, 9)).astype(float)
    shuffled = rng.permutation(202)
    for metric in METRICS.values():
        plain = Ranking(scores, labels).measure(metric.of, weights)
        moved = Ranking(scores[shuffled], labels[shuffled]).measure(metric.of, weights[shuffled])
        alone = [Ranking(scores, labels).measure(metric.of, weights[:, [k]])[0] for k in range(9)]
        assert np.array_equal(plain, moved) and np.array_equal(plain, alone)


def test_a_missing_class_a_nan_and_no_sample_have_no_auc():
    assert np.isnan(auc(np.ones(3), np.ones(3, int)))
    assert np.isnan(auc([0.0, np.nan], [0, 1]))
    assert np.isnan(auc([], []))


def test_ninety_per_cent_of_ten_negatives_lets_one_through():
    scores = np.arange(20.0)  # the highest negative is called with 5 of 10 positives, the next with 9
    labels = np.zeros(20, int)
    labels[[19, 18, 17, 16, 15, 13, 12, 11, 10, 1]] = 1
    ranking = Ranking(scores, labels)
    at = {s: ranking.measure(sensitivity_at(s), np.ones((20, 1)))[0] for s in (0.9, 0.91, 0.8)}
    assert at == {0.9: 0.9, 0.91: 0.5, 0.8: 0.9}


def test_the_metrics_of_constant_scores_are_those_of_chance():
    ranking = Ranking(np.zeros(10), np.arange(10) < 3)
    once = np.ones((10, 1))
    assert ranking.measure(area, once)[0] == 0.5
    assert ranking.measure(average_precision, once)[0] == pytest.approx(0.3, abs=1e-15)
    assert ranking.measure(sensitivity_at(0.9), once)[0] == 0


@pytest.mark.parametrize("labels", [[1, -1], [0, 2], [0.5, 1]])
def test_other_labels_are_refused(labels):
    with pytest.raises(ValueError, match="0 or 1"):
        auc([0.1, 0.2], labels)
