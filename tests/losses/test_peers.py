"""Inputs and expected values that other libraries publish, where a definition is shared; none of them is needed here.

What differs is in the table "Beside other programs" of docs/losses.md.
"""

import functools

import jax
import numpy as np
import pytest

from mammojax.losses import AUCMVariables, auc, aucm_loss, pairwise_auc_loss
from tests.losses.float64 import softplus

SUM = functools.partial(pairwise_auc_loss, reduction="sum")
IMPLEMENTATIONS = ("materialized", "tiled", "fast")


def total(scores, labels, **options):
    arrays = np.array(scores, np.float32), np.array(labels, np.int32)
    return float(jax.jit(functools.partial(SUM, **options))(*arrays))


def logloss(x):
    return softplus(-x)


# rax, rax/_src/losses_test.py: test_computes_loss_value, ..._weighted_loss_value (a pair weighs as its positive does),
# ..._for_zero_labels, ..._reduced_loss (two lists: groups here)
RAX = [
    ("logistic", [0, 3, 1, 2], [0, 0, 1, 1], {}, logloss(1) + logloss(-2) + logloss(-1) + logloss(2)),
    ("hinge", [0, 3, 1, 2], [0, 0, 1, 1], {}, (3 - 1 + 1) + (3 - 2 + 1)),
    ("logistic", [0, 3, 2, 1], [0, 0, 1, 1], {"weights": [1, 1, 2, 1]}, 5.320569),
    ("hinge", [0, 3, 2, 1], [0, 0, 1, 1], {"weights": [1, 1, 2, 1]}, 7),
    ("logistic", [0, 3, 1, 2], [0, 0, 0, 0], {}, 0),
    ("hinge", [0, 3, 1, 2], [0, 0, 0, 0], {}, 0),
    ("hinge", [2, 1, 3, 1, 0.5, 1.5], [1, 0, 0, 0, 0, 1], {"groups": [0, 0, 0, 1, 1, 1]}, 2.5),
    (
        "logistic",
        [2, 1, 3, 1, 0.5, 1.5],
        [1, 0, 0, 0, 0, 1],
        {"groups": [0, 0, 0, 1, 1, 1]},
        logloss(1) + logloss(-1) + logloss(0.5) + logloss(1),
    ),
]


@pytest.mark.parametrize("surrogate, scores, labels, options, expected", RAX)
def test_sums_over_pairs_are_those_of_rax(surrogate, scores, labels, options, expected):
    options = {name: np.array(x) for name, x in options.items()}
    found = total(scores, labels, surrogate=surrogate, implementation="materialized", **options)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("surrogate", ["logistic", "hinge"])
@pytest.mark.parametrize("implementation", ["materialized", "tiled"])
def test_extreme_scores_of_rax_overflow_nothing(surrogate, implementation):
    # rax, test_computes_loss_with_extreme_inputs: both losses are 2.1e26 + 2.1e26
    found = total([0, -2.1e26, 3.4e37, 42], [0, 1, 1, 0], surrogate=surrogate, implementation=implementation)
    assert found == pytest.approx(4.2e26, rel=1e-6)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_difference_of_minus_100_costs_100(implementation):
    # LibAUC, libauc/losses/surrogate.py: log(1 + exp(-t)), which float32 makes infinite below t = -88
    from tests.losses.programs import value_and_gradient

    loss, gradient = value_and_gradient(implementation, np.array([-50.0, 50.0]), np.array([1, 0]))
    assert loss == pytest.approx(100, rel=1e-6) and np.allclose(gradient, [-1, 1], rtol=1e-6)


def test_aucm_is_libaucs_over_p_times_one_minus_p():
    # LibAUC, docstring of AUCMLoss: F, a mean over all samples with p the share of positives
    scores = np.array([0.9, 0.2, 0.4, 0.7, 0.1], np.float32)
    labels = np.array([1, 0, 0, 1, 0])
    a, b, alpha, margin, p = 0.6, 0.3, 0.5, 1.0, 2 / 5
    h, positive = scores.astype(np.float64), labels == 1
    each = np.where(positive, (1 - p) * (h - a) ** 2, p * (h - b) ** 2)
    each += 2 * alpha * (p * (1 - p) * margin + np.where(positive, -(1 - p) * h, p * h))
    expected = (each - p * (1 - p) * alpha**2).mean()
    variables = AUCMVariables(*(np.float32(x) for x in (a, b, alpha)))
    for share in (None, p):
        found = aucm_loss(scores, labels, variables, margin=margin, positive_share=share)
        assert float(found) * p * (1 - p) == pytest.approx(expected, rel=1e-6)


# scikit-learn, sklearn/metrics/tests/test_ranking.py: test_partial_roc_auc_score; torchmetrics, docstring of binary_auroc
AREAS = [
    ("scikit-learn", [0, 0, 1, 1], [0, 0, 1, 1], 1.0, 1.0),
    ("scikit-learn", [0, 0, 1, 1], [0, 0, 1, 1], 0.001, 1.0),
    ("scikit-learn", [0.1, 0, 0.1, 0.01], [0, 0, 1, 1], 0.3, 0.5),
    ("torchmetrics", [0, 0.5, 0.7, 0.8], [0, 1, 1, 0], 1.0, 0.5),
]


@pytest.mark.parametrize("source, scores, labels, max_fpr, expected", AREAS)
def test_areas_are_those_of_the_peers(source, scores, labels, max_fpr, expected):
    found = auc(np.array(scores, np.float32), np.array(labels), max_fpr=max_fpr)
    assert float(found) == pytest.approx(expected, abs=1e-6)
