"""The SVM baseline against liblinear, and what its cost may not see."""

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from mammojax.errors import UserError
from mammojax.evaluation.metrics import auc
from mammojax.experiment.svm import LinearScorer, fit_svm


def images(n, f, seed=0, shift=1.0):
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(n // 2), 2)
    labels = (patients % 4 == 0).astype(int)
    return rng.normal(size=(n, f)) + shift * labels[:, None] * (np.arange(f) < 3), labels, patients


@pytest.mark.parametrize("n, f", [(80, 20), (40, 120)])
@pytest.mark.parametrize("cost", [1e-3, 1e-1, 10.0])
def test_the_solution_is_liblinears_with_fewer_and_with_more_features_than_images(n, f, cost):
    features, labels, patients = images(n, f)
    svm = fit_svm(features, labels, patients, seed=0, costs=[cost])
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    # liblinear shrinks the intercept too; a constant feature of 1e3 makes that negligible
    other = LinearSVC(C=cost, dual=False, tol=1e-10, max_iter=10**5, intercept_scaling=1e3)
    other.fit(standard, labels)

    def objective(weights, scores):
        return weights @ weights / 2 + cost * np.sum(np.maximum(0, 1 - (2 * labels - 1) * scores) ** 2)

    # liblinear stops early where the costs are large: it agrees to about four digits and is never better
    theirs = other.decision_function(standard)
    np.testing.assert_allclose(svm.weights, other.coef_[0], atol=1e-4)
    np.testing.assert_allclose(svm.scores(features), theirs, atol=1e-3)
    assert objective(svm.weights, svm.scores(features)) <= objective(other.coef_[0], theirs) * (1 + 1e-9)


def test_the_cost_is_the_best_of_the_inner_folds_and_of_equals_the_smallest():
    svm = fit_svm(*images(80, 30), seed=0)
    best = max(svm.cost_aucs.values())
    assert svm.cost == min(cost for cost, value in svm.cost_aucs.items() if value == best)


def test_inner_folds_do_not_share_patients():
    # each patient has two equal images and a label without any reason: only who sees a patient's twin is right
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(60), 2)
    features, labels = rng.normal(size=(60, 200))[patients], rng.permutation(np.arange(60) % 2)[patients]
    aucs = fit_svm(features, labels, patients, seed=0).cost_aucs
    # with leaks the AUC is 1; without, 0.5 with a standard error of about 0.08
    assert max(aucs.values()) < 0.8


def test_units_and_dead_features_do_not_matter():
    features, labels, patients = images(80, 12)
    plain = fit_svm(features, labels, patients, seed=0).scores(features)
    units = np.append(np.logspace(-6, 6, 12), 1.0)
    dead = np.column_stack([features, np.full(80, 0.1)]) * units
    # scores are of the order of one; units over twelve decades cost some digits
    np.testing.assert_allclose(fit_svm(dead, labels, patients, seed=0).scores(dead), plain, atol=1e-6)


def test_a_feature_that_never_varied_in_training_has_no_say_later():
    features, labels, patients = images(80, 12)
    features[:, 5] = 3.0
    svm = fit_svm(features, labels, patients, seed=0)
    changed = features.copy()
    changed[:, 5] = 1e6
    assert np.array_equal(svm.scores(changed), svm.scores(features))


def test_one_positive_patient_is_enough_to_fit_but_not_to_choose():
    features, labels, patients = images(80, 12, shift=4.0)
    labels = ((patients == 4) & (labels == 1)).astype(int)
    svm = fit_svm(features, labels, patients, seed=0, costs=(0.1, 1.0, 10.0))
    assert svm.cost == 1.0 and not svm.cost_aucs and auc(svm.scores(features), labels) == 1


def test_one_class_alone_is_an_error_with_a_remedy():
    features, labels, patients = images(20, 4)
    with pytest.raises(UserError, match="both classes.*use more data"):
        fit_svm(features, np.zeros_like(labels), patients, seed=0)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "svm.npz").write_bytes(content)
    with pytest.raises(UserError) as error:
        LinearScorer.load(tmp_path / "svm.npz")
    assert "\n" not in str(error.value)


def test_a_pickle_in_a_file_is_never_opened(tmp_path):
    svm = fit_svm(*images(40, 4), seed=0)
    path = tmp_path / "svm.npz"
    np.savez(path, mean=np.array([object()]), std=svm.std, weights=svm.weights, intercept=0.0, cost=1.0, costs=[],
             aucs=[])  # fmt: skip
    with pytest.raises(UserError):
        LinearScorer.load(path)
