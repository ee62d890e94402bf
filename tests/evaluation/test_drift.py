"""The recalibration that drifted log-odds need, against scikit-learn and against what they were drawn from."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.special import expit

from mammojax.evaluation.drift import drift, recalibration
from mammojax.evaluation.predictions import Predictions


def external(odds, labels, patients=None) -> Predictions:
    n = len(labels)
    zeros = np.zeros(n, int)
    patients = np.arange(n) if patients is None else patients
    return Predictions(np.arange(n), patients, zeros, zeros, labels, odds, odds, zeros)


def drawn(n=1200, slope=0.5, intercept=-1.0):
    rng = np.random.default_rng(0)
    odds = rng.normal(0.3, 2.0, n)
    return odds, (rng.random(n) < expit(slope * odds + intercept)).astype(int)


def test_weighted_fits_are_those_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    odds, labels = drawn(200)
    weights = np.random.default_rng(1).poisson(1.0, (200, 3)).astype(float)
    slope, intercept = recalibration(odds, labels, weights)
    for k in range(3):
        fit = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
        fit.fit(odds[:, None], labels, sample_weight=weights[:, k])
        # its solver stops at a gradient of 1e-10 a sample
        assert (slope[k], intercept[k]) == pytest.approx((fit.coef_[0, 0], fit.intercept_[0]), abs=1e-5)


def test_the_intervals_hold_what_the_labels_were_drawn_by():
    odds, labels = drawn()
    found = drift(external(odds, labels), seed=0, resamples=100)
    assert found.slope.low < 0.5 < found.slope.high and found.slope.high - found.slope.low < 0.3
    assert found.intercept.low < -1.0 < found.intercept.high
    assert found.predicted.value == pytest.approx(expit(odds).mean())
    assert found.observed.value == labels.mean()
    assert found.excess.low > 0.1 and found.excess.value == pytest.approx(expit(odds).mean() - labels.mean())


def test_images_of_one_patient_widen_the_interval():
    odds, labels = drawn(200)
    single = drift(external(odds, labels), seed=0, resamples=100).excess
    repeated = external(np.repeat(odds, 5), np.repeat(labels, 5), np.repeat(np.arange(200), 5))
    clustered = drift(repeated, seed=0, resamples=100).excess
    assert clustered.value == pytest.approx(single.value)
    assert (clustered.high - clustered.low) / (single.high - single.low) == pytest.approx(1, abs=0.25)


def test_without_an_overlap_of_the_classes_there_is_no_recalibration():
    labels = np.r_[np.zeros(10, int), np.ones(10, int)]
    for odds in (np.arange(20.0), np.zeros(20)):
        found = drift(external(odds, labels), seed=0, resamples=20)
        assert math.isnan(found.slope.value) and not math.isnan(found.predicted.value)
    one_class = dataclasses.replace(external(np.arange(20.0), labels), labels=np.ones(20, int))
    assert math.isnan(drift(one_class, seed=0, resamples=20).intercept.value)
