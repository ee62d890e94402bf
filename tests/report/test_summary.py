"""What an interval means, what must not change it, and what the three levels are."""

import hashlib

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score
from studies import altered, study

from mammojax.evaluation import bootstrap
from mammojax.evaluation.metrics import METRICS, auc
from mammojax.evaluation.predictions import LEVELS, Predictions
from mammojax.report.summary import summarise


def summary_of(predictions, *, seed=0, resamples=50):
    return summarise({"auc": predictions}, proposed="auc", seed=seed, resamples=resamples).arms["auc"]


def as_given(predictions):
    return {name: value.copy() for name, value in vars(predictions).items()}


@pytest.mark.parametrize("repeats", [1, 3])
def test_neither_salt_nor_the_order_of_rows_or_arms_changes_a_bit(repeats):
    rng = np.random.default_rng(0)
    a = study(rng, repeats=repeats)
    b = altered(a, calibrated=a.calibrated + rng.normal(size=len(a)))
    plain = summarise({"bce": a, "auc": b}, proposed="auc", seed=3, resamples=60)
    for salt in ("one", "two", "three"):
        shuffled = rng.permutation(len(a))

        def hashed(numbers, salt=salt):
            return np.asarray([hashlib.sha256(f"{salt}{k}".encode()).hexdigest()[:16] for k in numbers])

        c, d = (
            Predictions(**{k: (hashed(v) if k in ("patients", "breasts") else v)[shuffled]
                           for k, v in as_given(p).items()})
            for p in (a, b)
        )  # fmt: skip
        assert repr(
            summarise({"auc": d, "bce": c}, proposed="auc", seed=3, resamples=60).arms["auc"]
        ) == repr(plain.arms["auc"])
        other = summarise({"auc": d, "bce": c}, proposed="auc", seed=3, resamples=60)
        assert repr(other.differences) == repr(plain.differences) and other.arms["bce"] == plain.arms["bce"]


def test_how_many_resamples_are_held_at_once_changes_no_bit(monkeypatch):
    a = study(np.random.default_rng(0))
    at_once = summary_of(a)
    monkeypatch.setattr(bootstrap, "CHUNK", 7 * len(a))  # seven at a time, one in the last chunk
    assert repr(summary_of(a)) == repr(at_once)


def test_scales_and_offsets_of_the_networks_do_not_change_the_mean_over_folds():
    a = study(np.random.default_rng(0))
    # powers of two keep every comparison of two scores of a fold exact
    stretched = altered(a, calibrated=a.calibrated * 2.0**a.folds - 8.0 * 2.0**a.folds)
    assert summary_of(stretched)["image"].estimates["mean"] == summary_of(a)["image"].estimates["mean"]


def test_the_levels_pool_as_they_say():
    a = study(np.random.default_rng(1))
    breasts = a.patients * 2 + np.tile([0, 0, 1, 1], len(a) // 4)
    by_breast = np.asarray([a.calibrated[breasts == k].mean() for k in range(breasts.max() + 1)])
    of_breast = np.asarray([a.labels[breasts == k].max() for k in range(breasts.max() + 1)])
    by_patient, of_patient = by_breast.reshape(-1, 2).max(axis=1), of_breast.reshape(-1, 2).max(axis=1)
    found = summary_of(a)
    for level, scores, labels in (
        ("image", a.calibrated, a.labels),
        ("breast", by_breast, of_breast),
        ("patient", by_patient, of_patient),
    ):
        folds = np.arange(48) % 5
        folds = np.repeat(folds, len(scores) // 48)
        per_fold = [roc_auc_score(labels[folds == k], scores[folds == k]) for k in range(5)]
        here = found[level]
        assert list(here.folds[0].values()) == pytest.approx(per_fold, abs=1e-12)
        assert here.estimates["mean"].value == pytest.approx(np.mean(per_fold), abs=1e-12)
        assert here.folds_sd == pytest.approx(np.std(per_fold, ddof=1), abs=1e-12)
        assert here.estimates["pooled"].value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        assert here.estimates["average_precision"].value == pytest.approx(
            average_precision_score(labels, scores), abs=1e-12
        )
        assert (here.samples, here.positives) == (len(labels), labels.sum())


def test_the_bootstrap_deviation_is_that_of_resampling_patients_by_hand():
    a = study(np.random.default_rng(0), patients=60)
    found = summary_of(a, resamples=1500)["image"].estimates["pooled"]
    rng = np.random.default_rng(1)
    names = {k: np.unique(a.patients[a.folds == k]) for k in range(5)}
    of = {name: np.flatnonzero(a.patients == name) for name in np.unique(a.patients)}
    values = []
    for _ in range(1500):
        chosen = np.concatenate([of[name] for k in range(5) for name in rng.choice(names[k], len(names[k]))])
        values.append(auc(a.calibrated[chosen], a.labels[chosen]))
    half = 1.96 * np.std(values) / (found.value * (1 - found.value))  # on the logit scale
    expected = 1 / (1 + np.exp(-(np.log(found.value / (1 - found.value)) + np.array([-half, half]))))
    # two bootstraps of 1500: their deviations agree to 1.8% each (one in the root of 3000)
    assert [found.low, found.high] == pytest.approx(expected, abs=0.012)


def test_of_independent_images_the_deviation_is_delongs():
    rng = np.random.default_rng(2)
    n = 300
    labels = (np.arange(n) % 3 == 0).astype(int)
    scores = labels + rng.normal(size=n)
    one = Predictions(
        np.arange(n), np.arange(n), np.zeros(n), np.zeros(n), labels, scores, scores, np.zeros(n)
    )
    found = summary_of(one, resamples=4000)["image"].estimates["pooled"]
    wins = (scores[labels == 1][:, None] > scores[labels == 0]).astype(float)
    # DeLong et al. 1988: variance of the two sets of placements
    variance = wins.mean(1).var(ddof=1) / wins.shape[0] + wins.mean(0).var(ddof=1) / wins.shape[1]
    deviation = np.log(found.high / (1 - found.high)) - np.log(found.low / (1 - found.low))
    deviation *= found.value * (1 - found.value) / (2 * 1.96)
    # 1.1% from 4000 resamples, about 1% from the number of positives, which the bootstrap draws and DeLong holds
    assert deviation == pytest.approx(np.sqrt(variance), rel=0.05)


def test_copies_of_images_do_not_narrow_the_interval():
    a = study(np.random.default_rng(0))
    given = as_given(a)
    twice = Predictions(**{k: np.concatenate([v, v]) for k, v in given.items() if k != "records"},
                        records=np.arange(2 * len(a)))  # fmt: skip
    once, doubled = (summary_of(p, resamples=200)["image"].estimates for p in (a, twice))
    for name in ("mean", "pooled"):
        # the same patients are drawn; sums of small integers are exact, their standard deviation rounds
        assert doubled[name].low == pytest.approx(once[name].low, abs=1e-12)


def test_repeats_of_the_same_predictions_neither_narrow_the_interval_nor_spread():
    a = study(np.random.default_rng(0))
    given = as_given(a)
    thrice = Predictions(**{k: np.tile(v, 3) for k, v in given.items() if k != "repeats"},
                         repeats=np.repeat([0, 1, 2], len(a)))  # fmt: skip
    one, three = (summary_of(p, resamples=800)["image"] for p in (a, thrice))
    assert three.repeats_sd == pytest.approx(0, abs=1e-15)  # a mean of three equal numbers rounds
    assert np.isnan(one.repeats_sd) and three.samples == one.samples
    for name in METRICS:
        assert three.estimates[name].value == pytest.approx(one.estimates[name].value, abs=1e-15)
        width = three.estimates[name].high - three.estimates[name].low
        # 2.5% from 800 resamples each; drawn inside five folds of nine or ten, the deviation is 5% smaller; at most
        # that of three independent studies would be 42% smaller
        assert width == pytest.approx(one.estimates[name].high - one.estimates[name].low, rel=0.15)


def test_the_spread_of_repeats_is_that_of_their_means_and_the_value_their_mean():
    a = study(np.random.default_rng(0), repeats=4, noise=1.0)
    found = summary_of(a)["image"]
    means = []
    for repeat in range(4):
        here = a.repeats == repeat
        scores, labels, folds = a.calibrated[here], a.labels[here], a.folds[here]
        means.append(np.mean([roc_auc_score(labels[folds == k], scores[folds == k]) for k in range(5)]))
    assert found.repeats_sd == pytest.approx(np.std(means, ddof=1), abs=1e-12)
    assert found.estimates["mean"].value == pytest.approx(np.mean(means), abs=1e-12)


def test_a_fold_without_positives_is_left_out_of_the_mean_but_not_of_the_pool():
    a = study(np.random.default_rng(0))
    lacking = altered(a, labels=np.where(a.folds == 2, 0, a.labels))
    found = summary_of(lacking)["image"]
    kept = [auc(a.calibrated[a.folds == k], a.labels[a.folds == k]) for k in (0, 1, 3, 4)]
    assert np.isnan(found.folds[0][2])
    assert found.estimates["mean"].value == pytest.approx(np.mean(kept), abs=1e-15)
    assert found.estimates["pooled"].value == auc(lacking.calibrated, lacking.labels)


def test_an_arm_against_itself_differs_by_nothing_and_a_better_one_by_more():
    weak, strong = (study(np.random.default_rng(4), shift=shift) for shift in (0.3, 2.0))
    arms = {"bce": weak, "same": strong, "auc": strong}
    differences = summarise(arms, proposed="auc", seed=0, resamples=100).differences
    for level in LEVELS:
        assert all(differences["same"][level][name].value == 0 for name in METRICS)
        assert differences["bce"][level]["mean"].low > 0
    assert not summarise(arms, proposed="other", seed=0, resamples=10).differences


def test_the_paired_difference_is_narrower_than_that_of_two_studies():
    a = study(np.random.default_rng(0))
    b = altered(a, calibrated=a.calibrated + 0.1 * np.random.default_rng(1).normal(size=len(a)))
    both = summarise({"a": a, "b": b}, proposed="a", seed=0, resamples=300)
    difference, one = both.differences["b"]["image"]["pooled"], both.arms["a"]["image"].estimates["pooled"]
    assert difference.high - difference.low < 0.5 * (one.high - one.low)


@pytest.mark.filterwarnings("error")
def test_perfect_scores_have_no_interval_and_one_class_alone_no_number():
    a = study(np.random.default_rng(0))
    perfect = summary_of(altered(a, calibrated=a.labels))["image"].estimates
    assert all(e.value == 1 and np.isnan(e.low) and np.isnan(e.high) for e in perfect.values())
    alone = summarise({"auc": altered(a, labels=np.zeros(len(a)))}, proposed="auc", seed=0, resamples=20)
    assert alone.discarded == dict.fromkeys(LEVELS, 20)
    assert all(np.isnan(e.value) for e in alone.arms["auc"]["image"].estimates.values())


@pytest.mark.filterwarnings("error")
def test_a_patient_who_is_all_of_a_class_may_leave_every_resample_undefined():
    # one draw of two patients: half of the seeds draw the same one twice
    two = Predictions([0, 1], ["p", "q"], ["L", "L"], [0, 0], [0, 1], [0.2, 0.1], [0.2, 0.1], [0, 0])
    summaries = [
        summarise({"bce": two, "auc": two}, proposed="auc", seed=seed, resamples=1) for seed in range(8)
    ]
    assert {summary.discarded["image"] for summary in summaries} == {0, 1}
    assert all(np.isnan(s.arms["auc"]["image"].estimates["mean"].low) for s in summaries)


def test_arms_of_other_labels_or_folds_are_not_compared():
    a = study(np.random.default_rng(0))
    for other in (altered(a, labels=1 - a.labels), altered(a, folds=a.folds + 1)):
        with pytest.raises(ValueError, match="labels|folds"):
            summarise({"bce": a, "auc": other}, proposed="auc", seed=0)


def test_leaks_and_doubles_in_predictions_are_refused():
    a = study(np.random.default_rng(0), repeats=2)
    with pytest.raises(ValueError, match="two folds"):
        altered(a, folds=np.arange(len(a)) % 5)
    with pytest.raises(ValueError, match="more than one prediction"):
        altered(a, records=np.zeros(len(a)))
    with pytest.raises(ValueError, match="differ in their labels"):
        altered(a, labels=np.where(a.repeats == 1, 1 - a.labels, a.labels))
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match="not finite"):
            altered(a, calibrated=np.full(len(a), value))


def test_a_breast_of_the_same_name_in_two_patients_is_two_breasts():
    a = study(np.random.default_rng(0))
    sides = altered(a, breasts=np.tile(["L", "L", "R", "R"], len(a) // 4))
    assert summary_of(sides)["breast"].samples == 96


@pytest.mark.slow
@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("shift", [1.0, 2.2])
def test_the_interval_covers_the_true_auc_in_19_of_20_studies(shift, repeats):
    truth = norm.cdf(shift / np.sqrt(2))  # of a positive and a negative image of two patients
    covered = np.zeros(2)
    for trial in range(400):
        found = summary_of(
            study(np.random.default_rng(trial), shift=shift, repeats=repeats), seed=trial, resamples=400
        )
        estimates = found["image"].estimates
        covered += [e.low <= truth <= e.high for e in (estimates["mean"], estimates["pooled"])]
    # 400 trials have a standard error of 1.1%: three of them, and 0.5% for the small sample
    assert (np.abs(covered / 400 - 0.95) < 0.038).all()
