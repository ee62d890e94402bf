"""AUC, intervals, calibration and the SVM baseline against scikit-learn and plain loops."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mammojax.evaluation.calibration import Platt, fit_platt
from mammojax.evaluation.statistics import Predictions, auc, roc, summarise, table_json, table_markdown
from mammojax.experiment.svm import LinearScorer, fit_svm


def predictions(seed=0, patients=60, shift=1.0, scale=1.0):
    rng = np.random.default_rng(7)  # the same images for every arm
    sizes = rng.integers(1, 5, patients)
    owner = np.repeat(np.arange(patients), sizes)
    labels = (owner % 4 == 0).astype(int)
    noise = np.random.default_rng(seed)
    scores = noise.normal(size=len(owner)) + 0.5 * noise.normal(size=patients)[owner] + shift * labels
    return Predictions(
        records=np.array([f"r{k}" for k in range(len(owner))]),
        patients=np.array([f"p{k}" for k in owner]),
        folds=owner % 5,
        labels=labels,
        scores=scores * scale,
        calibrated=scores,
    )


def test_auc_is_scikit_learns_with_ties_and_nan_without_a_class():
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels, scores = rng.integers(0, 2, 50), rng.integers(0, 6, 50)
        assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert np.isnan(auc(np.ones(3), np.ones(3, int)))


def test_the_area_under_the_roc_points_is_the_auc():
    p = predictions()
    fpr, tpr, _ = roc(np.round(p.scores), p.labels)
    assert np.trapezoid(tpr, fpr) == pytest.approx(auc(np.round(p.scores), p.labels), abs=1e-12)


def test_the_table_holds_fold_means_and_pooled_auc_and_an_interval_around_them():
    p = predictions()
    arm = summarise({"auc": p}, seed=0, resamples=200).arms["auc"]
    per_fold = [roc_auc_score(p.labels[p.folds == k], p.scores[p.folds == k]) for k in range(5)]
    assert list(arm.folds.values()) == pytest.approx(per_fold, abs=1e-12)
    assert arm.mean.value == pytest.approx(np.mean(per_fold), abs=1e-12)
    assert arm.deviation == pytest.approx(np.std(per_fold, ddof=1), abs=1e-12)
    assert arm.pooled.value == pytest.approx(roc_auc_score(p.labels, p.calibrated), abs=1e-12)
    assert arm.mean.low < arm.mean.value < arm.mean.high


def test_the_bootstrap_deviation_is_that_of_resampling_patients_by_hand():
    p = predictions()
    arm = summarise({"auc": p}, seed=0, resamples=1500).arms["auc"]
    rng = np.random.default_rng(1)
    names = {k: np.unique(p.patients[p.folds == k]) for k in range(5)}
    values = []
    for _ in range(1500):
        chosen = np.concatenate([
            np.flatnonzero(p.patients == name) for k in range(5) for name in rng.choice(names[k], len(names[k]))
        ])  # fmt: skip
        values.append(roc_auc_score(p.labels[chosen], p.calibrated[chosen]))
    a = arm.pooled.value
    half = 1.96 * np.std(values) / (a * (1 - a))  # on the logit scale
    expected = 1 / (1 + np.exp(-(np.log(a / (1 - a)) + np.array([-half, half]))))
    # two bootstraps of 1500: their deviations agree to 1.8% each (one in the root of 3000)
    assert [arm.pooled.low, arm.pooled.high] == pytest.approx(expected, abs=0.012)


def test_an_arm_against_itself_differs_by_nothing_and_a_better_one_by_more():
    weak, strong = predictions(shift=0.3), predictions(shift=2.0)
    summary = summarise({"bce": weak, "weighted_bce": strong, "auc": strong}, seed=0, resamples=100)
    same, better = summary.differences["weighted_bce"].mean, summary.differences["bce"].mean
    assert same.value == 0 and better.low > 0


def test_tables_name_every_arm_and_hold_plain_json():
    import json

    summary = summarise({"resize224_svm": predictions(1), "auc": predictions()}, seed=0, resamples=50)
    text = table_markdown(summary)
    assert "Baseline 1" in text and "Proposed" in text and " to " in text
    json.dumps(table_json(summary), allow_nan=False)


def test_leaks_and_doubles_in_predictions_are_refused():
    p = predictions()
    with pytest.raises(ValueError, match="two folds"):
        Predictions(p.records, p.patients, np.arange(len(p)) % 5, p.labels, p.scores, p.calibrated)
    with pytest.raises(ValueError, match="more than one prediction"):
        Predictions(np.full(len(p), "r"), p.patients, p.folds, p.labels, p.scores, p.calibrated)


def test_calibration_keeps_order_and_recovers_probabilities():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=4000) * 3
    labels = (rng.random(4000) < 1 / (1 + np.exp(-(0.7 * scores - 1)))).astype(int)
    platt = fit_platt(scores, labels)
    # 4000 samples: standard errors of 0.03 and 0.05
    assert platt.slope == pytest.approx(0.7, abs=0.1) and platt.intercept == pytest.approx(-1, abs=0.2)
    assert (np.diff(platt.probability(np.linspace(-9, 9, 50))) > 0).all()
    again = Platt.from_json(platt.to_json())
    assert np.array_equal(again.log_odds(scores), platt.log_odds(scores))


@pytest.mark.parametrize(
    "labels", [np.zeros(8, int), np.ones(8, int), np.arange(8) % 2, (np.arange(8) < 4) * 1]
)
def test_calibration_of_hard_cases_is_finite_and_never_reverses(labels):
    platt = fit_platt(np.arange(8.0), labels)
    values = platt.probability(np.array([-100.0, 0.0, 100.0]))
    assert np.isfinite(values).all() and (np.diff(values) >= 0).all() and platt.slope >= 0


def test_the_svm_finds_a_linear_rule_and_comes_back_from_disk(tmp_path):
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(60), 2)
    labels = (patients % 3 == 0).astype(int)
    features = rng.normal(size=(120, 20)).astype(np.float32)
    features[:, 3] += 2.5 * labels
    svm = fit_svm(features, labels, patients, seed=0)
    assert auc(svm.scores(features), labels) > 0.9
    svm.save(tmp_path / "svm.npz")
    assert np.array_equal(LinearScorer.load(tmp_path / "svm.npz").scores(features), svm.scores(features))
    assert np.array_equal(fit_svm(features, labels, patients, seed=0).weights, svm.weights)
