"""What an interval means, and what must not change it."""

import numpy as np
import pytest
from scipy.stats import norm

from mammojax.evaluation import statistics
from mammojax.evaluation.statistics import Predictions, summarise, table_markdown


def study(rng, *, patients=48, positive=17, images=4, shift=1.0):
    """Half of a positive patient's images are positive; images of a patient share 30% of their variance."""
    owner = np.repeat(np.arange(patients), images)
    labels = ((owner < positive) & (np.arange(len(owner)) % images < images // 2)).astype(int)
    noise = np.sqrt(0.3) * rng.normal(size=patients)[owner] + np.sqrt(0.7) * rng.normal(size=len(owner))
    scores = shift * labels + noise
    names = np.array([f"r{i:04d}" for i in range(len(owner))])
    return Predictions(names, owner, owner % 5, labels, scores, scores)


def altered(predictions, **changes):
    return Predictions(**(vars(predictions) | changes))


def test_neither_the_order_of_the_records_nor_that_of_the_arms_changes_a_number():
    rng = np.random.default_rng(0)
    a = study(rng)
    b = altered(a, scores=a.scores + rng.normal(size=len(a)))
    shuffled = rng.permutation(len(a))
    c, d = (Predictions(**{k: v[shuffled] for k, v in vars(p).items()}) for p in (a, b))
    plain = summarise({"bce": a, "auc": b}, seed=3, resamples=50)
    other = summarise({"auc": d, "bce": c}, seed=3, resamples=50)
    assert plain.arms == other.arms and plain.differences == other.differences


def test_how_many_resamples_are_held_at_once_changes_no_number(monkeypatch):
    a = study(np.random.default_rng(0))
    at_once = summarise({"auc": a}, seed=0, resamples=50)
    monkeypatch.setattr(statistics, "CHUNK", 7 * len(a))  # seven at a time, the last chunk is short
    assert summarise({"auc": a}, seed=0, resamples=50) == at_once


def test_scales_and_offsets_of_the_networks_change_neither_mean_nor_pooled_auc():
    a = study(np.random.default_rng(0))
    # powers of two keep every comparison of two scores of a fold exact
    stretched = altered(a, scores=a.scores * 2.0**a.folds - 8.0 * 2.0**a.folds)
    assert summarise({"auc": stretched}, seed=0, resamples=50) == summarise({"auc": a}, seed=0, resamples=50)


def test_copies_of_images_do_not_narrow_the_interval():
    a = study(np.random.default_rng(0))
    twice = Predictions(**{k: np.concatenate([v, v]) for k, v in vars(a).items() if k != "records"},
                        records=np.arange(2 * len(a)))  # fmt: skip
    once, doubled = (summarise({"auc": p}, seed=0, resamples=200).arms["auc"] for p in (a, twice))
    # the same patients are drawn; sums of small integers are exact, their standard deviation rounds
    assert doubled.mean.low == pytest.approx(once.mean.low, abs=1e-12)
    assert doubled.pooled.high == pytest.approx(once.pooled.high, abs=1e-12)


def test_a_fold_without_positives_is_left_out_of_the_mean_but_not_of_the_pool():
    a = study(np.random.default_rng(0))
    lacking = altered(a, labels=np.where(a.folds == 2, 0, a.labels))
    arm = summarise({"auc": lacking}, seed=0, resamples=50).arms["auc"]
    kept = [statistics.auc(a.scores[a.folds == k], a.labels[a.folds == k]) for k in (0, 1, 3, 4)]
    assert np.isnan(arm.folds[2]) and arm.mean.value == pytest.approx(np.mean(kept), abs=1e-15)
    assert arm.pooled.value == statistics.auc(lacking.calibrated, lacking.labels)


def test_a_perfect_auc_gets_no_interval_and_the_table_says_why():
    a = study(np.random.default_rng(0))
    perfect = altered(a, scores=a.labels * 1.0, calibrated=a.labels * 1.0)
    summary = summarise({"auc": perfect}, seed=0, resamples=50)
    assert summary.arms["auc"].mean.value == 1 and np.isnan(summary.arms["auc"].mean.low)
    table = table_markdown(summary)
    assert "1.000 (no interval)" in table and "do not vary" in table


@pytest.mark.filterwarnings("error")
def test_one_class_alone_is_written_as_not_defined():
    a = study(np.random.default_rng(0))
    summary = summarise({"auc": altered(a, labels=np.zeros(len(a)))}, seed=0, resamples=20)
    assert summary.discarded == 20 and "not defined" in table_markdown(summary)


@pytest.mark.filterwarnings("error")
def test_a_patient_who_is_all_of_a_class_may_leave_every_resample_undefined():
    # one draw of two patients: half of the seeds draw the same one twice
    two = Predictions(["a", "b"], ["p", "q"], [0, 0], [0, 1], [0.2, 0.1], [0.2, 0.1])
    summaries = [summarise({"bce": two, "auc": two}, seed=seed, resamples=1) for seed in range(8)]
    assert {summary.discarded for summary in summaries} == {0, 1}
    assert all(np.isnan(summary.arms["auc"].mean.low) for summary in summaries)


def test_arms_of_other_labels_are_not_compared():
    a = study(np.random.default_rng(0))
    with pytest.raises(ValueError, match="labels"):
        summarise({"bce": a, "auc": altered(a, labels=1 - a.labels)}, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [1.0, 2.2])
def test_the_interval_covers_the_true_auc_in_19_of_20_studies(shift):
    truth = norm.cdf(shift / np.sqrt(2))  # of a positive and a negative image of two patients
    covered = np.zeros(2)
    for trial in range(400):
        arm = summarise({"auc": study(np.random.default_rng(trial), shift=shift)}, seed=trial, resamples=400)
        arm = arm.arms["auc"]
        covered += [e.low <= truth <= e.high for e in (arm.mean, arm.pooled)]
    # 400 trials have a standard error of 1.1%: three of them, and 0.5% for the small sample
    assert (np.abs(covered / 400 - 0.95) < 0.038).all()
