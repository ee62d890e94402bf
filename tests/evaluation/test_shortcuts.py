"""A planted shortcut is found, noise is not, and within groups a shortcut adds nothing."""

import dataclasses

import numpy as np
import pytest

from mammojax.evaluation.metrics import auc
from mammojax.evaluation.predictions import Predictions
from mammojax.evaluation.shortcuts import facts_alone, within_groups


def study(seed=0, patients=120, repeats=2):
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), 2)
    labels = (rng.random(patients) < 0.3).astype(int)[owner]
    folds = np.concatenate([rng.permutation(patients)[owner] % 5 for _ in range(repeats)])
    n = len(owner)
    scores = rng.normal(size=n * repeats)
    return Predictions(np.tile(np.arange(n), repeats), np.tile(owner, repeats), np.zeros(n * repeats), folds,
                       np.tile(labels, repeats), scores, scores, np.repeat(np.arange(repeats), n))  # fmt: skip


def of_records(predictions):
    return predictions.labels[predictions.of_repeat(0)]


def test_a_group_of_films_that_betrays_the_label_is_found_even_if_no_trend_does():
    p = study()
    labels = of_records(p)
    rng = np.random.default_rng(1)
    spacing = np.where(
        labels == 1, 0.07, rng.choice([0.05, 0.1], len(labels))
    )  # the middle one of three devices
    spacing[rng.random(len(labels)) < 0.1] = np.nan
    found = facts_alone(np.stack([rng.normal(size=len(labels)), spacing], 1), p)
    assert auc(found.calibrated, found.labels) > 0.9
    assert np.array_equal(found.folds, p.folds) and np.array_equal(found.repeats, p.repeats)


def test_noise_tells_nothing():
    p = study(repeats=1)
    values = [
        auc(found.calibrated, found.labels)
        for found in (facts_alone(np.random.default_rng(k).normal(size=(240, 3)), p) for k in range(4))
    ]
    # 36 positive patients of 120: a standard error of 0.06 each, 0.03 of four
    assert np.mean(values) == pytest.approx(0.5, abs=0.09)


def test_a_fold_is_not_fitted_to_its_own_labels():
    p = study(repeats=1)
    held_out = p.folds == 3
    facts = np.random.default_rng(2).normal(size=(240, 3))
    plain = facts_alone(facts, p)
    turned = facts_alone(facts, dataclasses.replace(p, labels=np.where(held_out, 1 - p.labels, p.labels)))
    assert np.array_equal(plain.calibrated[held_out], turned.calibrated[held_out])
    assert not np.array_equal(plain.calibrated[~held_out], turned.calibrated[~held_out])


def test_what_tells_groups_apart_does_not_count_within_them():
    p = study()
    labels = of_records(p)
    rng = np.random.default_rng(3)
    device = np.where(
        rng.random(len(labels)) < 0.85, labels, 1 - labels
    )  # 85% of positives come from device 1
    cheat = dataclasses.replace(p, calibrated=np.tile(device, 2) + 0.01 * rng.normal(size=len(p)))
    found = within_groups(cheat, device, seed=0, resamples=200)
    assert auc(cheat.calibrated, cheat.labels) > 0.8
    assert found.together.low < 0.5 < found.together.high
    assert {name: counts for name, (_, *counts) in found.groups.items()} == {
        str(d): [int((device == d).sum()), int(labels[device == d].sum())] for d in (0, 1)
    }


def test_within_groups_is_the_share_of_ordered_pairs_of_one_group():
    p = study(repeats=1)
    device = np.arange(240) // 2 % 3
    found = within_groups(p, device, seed=0, resamples=20)
    wins = pairs = 0
    for d in range(3):
        scores, labels = p.calibrated[device == d], p.labels[device == d]
        apart = scores[labels == 1][:, None] > scores[labels == 0]
        wins, pairs = wins + apart.sum(), pairs + apart.size
        assert found.groups[str(d)][0].value == pytest.approx(apart.mean(), abs=1e-12)
    assert found.together.value == pytest.approx(wins / pairs, abs=1e-12)


@pytest.mark.filterwarnings("error")
def test_a_group_of_one_class_is_undefined_and_does_not_spoil_the_rest():
    p = study(repeats=1)
    found = within_groups(p, np.where(of_records(p) == 1, "a", np.where(np.arange(240) % 4 < 2, "a", "b")), seed=0,
                          resamples=20)  # fmt: skip
    assert np.isnan(found.groups["b"][0].value) and found.together.value == found.groups["a"][0].value


def test_a_row_for_each_record_is_asked_for():
    with pytest.raises(ValueError, match="239 rows for 240 records"):
        facts_alone(np.zeros((239, 2)), study())
