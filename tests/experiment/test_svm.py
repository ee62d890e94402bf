"""The SVM baseline against a minimiser that knows only what it minimises, and what its cost may not see."""

import numpy as np
import pytest
from scipy.optimize import minimize

from mammojax.datasets.samples import Samples
from mammojax.errors import UserError
from mammojax.evaluation.metrics import auc
from mammojax.experiment.split import splits
from mammojax.experiment.svm import fit_svm


def images(n, f, shift=1.0):
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(n // 2), 2)
    labels = (patients % 4 == 0).astype(int)
    return rng.normal(size=(n, f)) + shift * labels[:, None] * (np.arange(f) < 3), labels, patients


def parts_of(labels, patients):
    members = tuple(np.asarray([i]) for i in range(len(labels)))
    samples = Samples(tuple(map(str, range(len(labels)))), members, labels, patients)
    return splits(samples, folds=2, inner=2, seed=0)[0]


def fitted(n=80, f=12, **options):
    features, labels, patients = images(n, f)
    parts = parts_of(labels, patients)
    return fit_svm(features, labels, parts, **options), features, labels, parts


@pytest.mark.parametrize("n, f", [(80, 20), (40, 60)])
@pytest.mark.parametrize("cost", [1e-3, 10.0])
def test_the_solution_is_the_least_of_its_objective_with_fewer_and_with_more_features_than_images(n, f, cost):
    svm, features, labels, parts = fitted(n, f, costs=[cost])
    x, sign = features[parts.train], 2 * labels[parts.train] - 1
    x = (x - x.mean(axis=0)) / x.std(axis=0)

    def objective(at):  # half the squared norm, and cost times the squared hinge; the intercept is not shrunk
        slack = np.maximum(0, 1 - sign * (x @ at[:-1] + at[-1]))
        back = -2 * cost * slack * sign
        return at[:-1] @ at[:-1] / 2 + cost * slack @ slack, np.append(at[:-1] + back @ x, back.sum())

    least = minimize(objective, np.zeros(f + 1), jac=True, method="BFGS", options={"gtol": 1e-9})
    own = objective(np.append(svm.scorer.weights, svm.scorer.intercept))[0]
    # liblinear stops at a thousandth of its first gradient, and shrinks the intercept by a hundredth of a weight's share
    assert own <= least.fun * 1.15


def test_the_cost_is_the_best_of_the_inner_folds_and_of_equals_the_smallest():
    svm, *_ = fitted()
    best = max(svm.cost_aucs.values())
    assert len(svm.cost_aucs) > 1
    assert svm.cost == min(cost for cost, value in svm.cost_aucs.items() if value == best)


def test_out_of_fold_scores_are_of_images_whose_patients_were_not_seen():
    # each patient has two equal images and a label without any reason: only who sees a patient's twin is right
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(60), 2)
    features, labels = rng.normal(size=(60, 200))[patients], rng.permutation(np.arange(60) % 2)[patients]
    parts = parts_of(labels, patients)
    svm = fit_svm(features, labels, parts)
    # with leaks the AUC is 1; without, 0.5 with a standard error of about 0.1 for 30 patients
    assert max(svm.cost_aucs.values()) < 0.8
    assert auc(svm.out_of_fold, labels[parts.train]) < 0.8
    assert auc(svm.scorer.scores(features[parts.train]), labels[parts.train]) == 1  # as a leak would look


def test_the_held_out_fold_changes_no_bit():
    svm, features, labels, parts = fitted()
    features[parts.held_out], labels[parts.held_out] = 7.0, 1 - labels[parts.held_out]
    other = fit_svm(features, labels, parts)
    assert np.array_equal(other.scorer.weights, svm.scorer.weights) and other.cost_aucs == svm.cost_aucs


def test_units_and_dead_features_do_not_matter():
    svm, features, labels, parts = fitted()
    units = np.append(np.logspace(-6, 6, 12), 1.0)
    dead = np.column_stack([features, np.full(80, 0.1)]) * units
    # scores are of the order of one; units over twelve decades cost some digits
    other = fit_svm(dead, labels, parts).scorer.scores(dead)
    np.testing.assert_allclose(other, svm.scorer.scores(features), atol=1e-5)


def test_a_feature_that_never_varied_in_training_has_no_say_later():
    features, labels, patients = images(80, 12)
    features[:, 5] = 3.0
    svm = fit_svm(features, labels, parts_of(labels, patients))
    changed = features.copy()
    changed[:, 5] = 1e6
    assert np.array_equal(svm.scorer.scores(changed), svm.scorer.scores(features))


def test_one_class_alone_is_an_error_with_a_remedy():
    features, labels, patients = images(40, 4)
    parts = parts_of(labels, patients)
    with pytest.raises(UserError, match="both classes.*use more data"):
        fit_svm(features, np.zeros_like(labels), parts)


def test_features_that_are_not_finite_are_refused():
    features, labels, patients = images(40, 4)
    features[3, 1] = np.nan
    with pytest.raises(ValueError, match="1 of 40 images have features that are not finite"):
        fit_svm(features, labels, parts_of(labels, patients))
