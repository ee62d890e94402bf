"""Stored scores: what is kept, what a step pairs with them, and what a common drift of the scores does."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mammojax.losses import ScoreBuffers, buffered_auc_loss, buffers, pairwise_auc_loss
from tests.losses.float64 import all_pairs

POLICIES = ("all", "reservoir", "fifo")


def loss_beside(stored, scores, labels, ids, **options):
    # the pairs are few, and the specification compiles in no time
    return buffered_auc_loss(scores, labels, ids, stored, implementation="materialized", **options)


CORRECTED = jax.jit(functools.partial(buffers.update, correct_drift=True))


def test_buffers_of_policy_all_hold_the_newest_score_of_every_sample():
    state = ScoreBuffers.init("all", 5)
    state = buffers.update(state, jnp.array([1.0, 2.0, 9.0]), jnp.array([0, 1, 1]), jnp.array([4, 0, 2]),
                           where=jnp.array([True, True, False]), step=3)  # fmt: skip
    state = buffers.update(state, jnp.array([7.0]), jnp.array([1]), jnp.array([0]), step=5)
    assert np.asarray(state.labels).tolist() == [1, -1, -1, -1, 0]  # padding entered nothing
    assert np.asarray(state.scores)[[0, 4]].tolist() == [7.0, 1.0]
    assert np.asarray(state.counts()).tolist() == [1, 1] and np.asarray(state.ages(6)).tolist() == [
        1,
        -1,
        -1,
        -1,
        3,
    ]


def test_a_step_pairs_the_batch_with_stored_scores_of_the_other_class_and_not_with_its_own_past():
    stored = ScoreBuffers.init("all", 6)
    stored = buffers.update(stored, jnp.array([0.3, -0.2, 1.0, 5.0]), jnp.array([0, 0, 1, 1]), jnp.arange(4))
    scores, labels, ids = jnp.array([0.5, -1.0]), jnp.array([1, 0]), jnp.array([3, 4])
    gradient = np.asarray(jax.jit(jax.grad(lambda s: loss_beside(stored, s, labels, ids)))(scores))
    # sample 3's old score of 5 is replaced by its new 0.5; sample 4 joins the negatives
    everything = jnp.array([0.3, -0.2, 1.0, 0.5, -1.0])
    full = np.asarray(
        jax.grad(lambda s: pairwise_auc_loss(s, jnp.array([0, 0, 1, 1, 0]), implementation="materialized"))(
            everything
        )
    )
    assert np.allclose(
        gradient / full[3:], gradient[0] / full[3], rtol=1e-5
    )  # parallel to the full loss's gradient
    assert gradient[0] < 0 < gradient[1]


def test_a_reservoir_keeps_every_offered_score_with_the_same_probability():
    kept = np.zeros(40)
    update = jax.jit(buffers.update)
    for trial in range(150):
        state = ScoreBuffers.init("reservoir", 8)
        for k in range(0, 40, 10):
            ids = jnp.arange(k, k + 10)
            key = jax.random.fold_in(jax.random.key(trial), k)
            state = update(state, ids.astype(jnp.float32), jnp.zeros(10, int), ids, key=key)
        held = np.asarray(state.ids)
        kept[held[held >= 0]] += 1
    # 150 draws of probability 1/5: mean 30, standard deviation 4.9; four deviations over 40 samples
    assert kept.sum() == 150 * 8 and np.abs(kept - 30).max() < 4.2 * 4.9


@pytest.mark.parametrize(
    "policy, capacity, off",
    # 400 negatives and 40 positives. The error of a mean over k partners is some 1 / sqrt(k) of a slope's deviation, for
    # these scores a third of its mean: 0.05 at 40, and the fifo's batches are no random sample
    [
        ("all", 440, 1e-6),
        ("reservoir", 100, 0.08),
        ("fifo", 100, 0.08),
    ],
)
def test_the_mean_gradient_of_epochs_is_that_of_the_full_loss(policy, capacity, off):
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], [400, 40])[rng.permutation(440)]
    scores = (rng.normal(size=440) + labels).astype(np.float32)
    state = ScoreBuffers.init(policy, capacity)
    total, epochs = np.zeros(440), 6

    @jax.jit
    def step(state, chosen, key):
        s, y = jnp.asarray(scores)[chosen], jnp.asarray(labels)[chosen]
        slopes = jax.grad(lambda s: loss_beside(state, s, y, chosen))(s)
        return buffers.update(state, s, y, chosen, key=key), slopes * len(chosen) / 440

    for turn in range(epochs):
        for k, chosen in enumerate(rng.permutation(440).reshape(-1, 22)):
            key = jax.random.fold_in(jax.random.key(turn), k)
            state, slopes = step(state, jnp.asarray(chosen, jnp.int32), key)
            if turn:  # the first one fills them
                total[chosen] += np.asarray(slopes) / (epochs - 1)
    _, expected = all_pairs(scores, labels)
    assert np.linalg.norm(total - expected) <= off * np.linalg.norm(expected)


def filled(policy, size=40, seed=0):
    rng = np.random.default_rng(seed)
    labels = (np.arange(size) % 4 == 0).astype(np.int32)
    scores = (rng.normal(size=size) + labels).astype(np.float32)
    state = ScoreBuffers.init(policy, size if policy == "all" else 24)
    state = buffers.update(state, scores, labels, jnp.arange(size), key=jax.random.key(1), step=1)
    return state, scores, labels


@pytest.mark.parametrize("policy", ["all", "reservoir", pytest.param("fifo", marks=pytest.mark.slow)])
def test_a_shift_of_all_present_scores_changes_neither_loss_nor_gradient_where_drift_is_corrected(policy):
    state, scores, labels = filled(policy)
    ids = jnp.asarray([1, 38, 4, 17, 12, 36, 39, 30])  # some of them are stored under every policy
    present = jnp.asarray(scores)[ids]

    @functools.partial(jax.jit, static_argnames="correct")
    def step(shift, correct=True):
        def loss(s):
            return loss_beside(state, s, labels[ids], ids, correct_drift=correct)

        after = buffers.update(
            state, present + shift, labels[ids], ids, key=jax.random.key(2), correct_drift=correct
        )
        return jax.value_and_grad(loss)(present + shift), after

    (loss, gradient), after = step(0.0)
    for shift in (-2.7, 1.0, 50.0):
        (moved, slopes), later = step(shift)
        # scores near 50 are rounded to 4e-6
        assert float(moved) == pytest.approx(float(loss), rel=2e-5)
        assert np.allclose(slopes, gradient, rtol=2e-5, atol=1e-7)
        stored = np.asarray(after.labels) >= 0
        assert np.allclose((later.scores - after.scores)[stored], shift, atol=2e-5)
        assert (np.asarray(later.ids) == np.asarray(after.ids)).all()
    # and it does where it is not
    assert abs(float(step(1.0, correct=False)[0][0]) / float(step(0.0, correct=False)[0][0]) - 1) > 0.01


def test_corrected_buffers_follow_scores_that_drift_for_epochs():
    """Every step all scores move by 0.1: what is stored stays at the present, whatever its age."""
    state, scores, labels = filled("all")
    rng, shift = np.random.default_rng(3), 0.0
    drift = jax.jit(buffers.drift)
    for step in range(20):
        shift += 0.1
        ids = rng.permutation(40)[:8]
        moved = drift(state, scores[ids] + shift, labels[ids], ids)
        assert float(moved) == pytest.approx(0.1, abs=1e-5)  # that of one step, not of an age
        state = CORRECTED(state, scores[ids] + shift, labels[ids], ids, step=step + 2)
        assert np.allclose(state.scores, scores + shift, atol=1e-4)
    assert 1 < float(state.mean_age(21)) < 21


def test_what_chance_explains_is_left_and_of_the_rest_two_standard_errors_at_most():
    """Against numpy in float64; samples that move by themselves alone do not send what is stored on a random walk."""
    state, scores, labels = filled("all")
    rng, common_drift = np.random.default_rng(5), jax.jit(buffers.common_drift)
    for common in (0.0, 0.1, 0.5, -3.0):
        ids = rng.permutation(40)[:8]
        changes = (common + rng.normal(size=8)).astype(np.float32)
        found = float(common_drift(state, scores[ids] + changes, labels[ids], ids))
        mean, error = changes.mean(dtype=np.float64), changes.std(ddof=1, dtype=np.float64) / 8**0.5
        expected = max(0, 1 - 4 * error**2 / mean**2) * mean
        assert found == pytest.approx(expected, abs=1e-5)  # scores of float32 a few units large
        assert abs(mean - found) <= 2 * error + 1e-5
    walked = []
    for seed in range(5):
        moved, draw = state, np.random.default_rng(seed)
        for step in range(30):
            ids = draw.permutation(40)[:8]
            noisy = scores[ids] + draw.normal(size=8).astype(np.float32)
            moved = CORRECTED(moved, noisy, labels[ids], ids, step=step)
        walked.append(float(jnp.mean(moved.scores - scores)))
    # the mean of forty changes of size one is 0.16 by chance; by the plain means 30 steps walk 1.9
    assert np.abs(walked).max() < 0.8
    one = jnp.asarray([3])  # of one sample nobody knows what is common
    assert float(buffers.common_drift(state, scores[one] + 5, labels[one], one)) == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_the_drift_is_the_mean_change_of_those_that_are_stored_and_0_if_none_is(policy):
    state, scores, labels = filled(policy)
    held = np.asarray(state.ids)[np.asarray(state.labels) >= 0]
    ids = np.array([held[0], held[1], held[2], 500 if policy != "all" else -1])
    changes = np.array([1.0, 2.0, 6.0, 100.0], np.float32)
    present = scores[np.minimum(ids, 39)] + changes
    where = np.array([True, True, False, True])
    found = buffers.drift(state, present, labels[np.minimum(ids, 39)], ids, where)
    assert float(found) == pytest.approx(1.5, abs=1e-5)
    assert float(buffers.drift(ScoreBuffers.init(policy, 600), present, np.ones(4, int), ids)) == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_of_equal_ids_in_a_batch_the_last_is_stored_once(policy):
    state = ScoreBuffers.init(policy, 8)
    ids = jnp.array([5, 3, 5, 5, -1])
    scores = jnp.array([1.0, 2.0, 3.0, jnp.nan, 7.0])  # a score that is not finite is not stored
    state = jax.jit(buffers.update)(state, scores, jnp.array([1, 0, 1, 1, 0]), ids, key=jax.random.key(0))
    stored = np.asarray(state.labels) >= 0
    assert sorted(zip(np.asarray(state.ids)[stored].tolist(), np.asarray(state.scores)[stored].tolist())) == [
        (3, 2.0),
        (5, 3.0),
    ]
    assert np.asarray(state.offered).tolist() == [1, 1] and float(state.sound) == 1


def test_ids_and_labels_that_are_none_are_errors_or_make_every_later_loss_nan():
    state, one = ScoreBuffers.init("all", 4), jnp.ones(1)
    with pytest.raises(ValueError, match="an id is 4, the highest that has a place is 3"):
        buffers.update(state, one, jnp.array([1]), jnp.array([4]))
    with pytest.raises(ValueError, match="labels must be 0 or 1, got 2"):
        buffers.update(state, one, jnp.array([2]), jnp.array([0]))
    with pytest.raises(ValueError, match="an id is 10000000000, the highest"):
        buffers.update(ScoreBuffers.init("fifo", 4), one, jnp.array([1]), np.array([10**10]))
    update = jax.jit(buffers.update)
    for label, number in ((1, 4), (2, 0), (-1, 1)):
        after = update(state, one, jnp.array([label]), jnp.array([number]))
        assert (np.asarray(after.labels) == -1).all()
        later = update(after, jnp.array([1.0, 0.0]), jnp.array([1, 0]), jnp.array([0, 1]))
        value, gradient = jax.value_and_grad(
            lambda s, b=later: loss_beside(b, s, jnp.array([1]), jnp.array([2]))
        )(one)
        assert np.isnan(value) and np.isnan(gradient).all()


def test_buffers_that_were_restored_as_another_policy_are_found():
    reservoir = filled("reservoir")[0]
    wrong = dataclasses.replace(reservoir, policy="fifo")
    batch = jnp.ones(1), jnp.array([1]), jnp.array([2])
    with pytest.raises(ValueError, match="made with policy 'reservoir' and restored as 'fifo'"):
        buffers.update(wrong, *batch)
    assert np.isnan(jax.jit(lambda b: loss_beside(b, *batch))(wrong))


def test_wide_ids_are_kept_whole_and_a_reservoir_works_where_jax_has_64_bits():
    with jax.enable_x64(True):
        ids = np.array([2**40, 2**40 + 2**32, 2**40])
        state = ScoreBuffers.init("reservoir", 4)
        for step, key in enumerate(jax.random.split(jax.random.key(0))):
            state = jax.jit(buffers.update)(
                state, jnp.arange(3.0) + step, jnp.array([0, 1, 0]), ids, key=key, step=step
            )
        stored = np.asarray(state.labels) >= 0
        assert sorted(np.asarray(state.ids)[stored].tolist()) == [2**40, 2**40 + 2**32]
        assert np.asarray(state.scores)[stored].tolist() == [3.0, 2.0]
        assert state.priorities.dtype == np.int32


def test_the_members_of_a_reservoir_change_over_epochs():
    state, rng = ScoreBuffers.init("reservoir", 25), np.random.default_rng(0)
    update, members = jax.jit(buffers.update), []
    for epoch in range(12):
        for k, ids in enumerate(rng.permutation(200).reshape(10, 20)):
            key = jax.random.fold_in(jax.random.key(epoch), k)
            state = update(state, jnp.zeros(20), jnp.asarray(ids) % 2, jnp.asarray(ids), key=key)
        members.append(set(np.asarray(state.ids).tolist()))
    # 50 of 200 kept: two independent samples share 12.5 +- 3; those of neighbouring epochs need not be independent
    assert all(len(members[k] & members[k + 4]) < 25 for k in range(8))


@pytest.mark.parametrize("policy, stratified", [("all", False), ("all", True), ("fifo", False)])
def test_a_sample_weighs_as_a_partner_what_it_weighs_in_its_batch(policy, stratified):
    rng = np.random.default_rng(0)
    labels = (np.arange(48) % 4 == 0).astype(np.int32)
    scores, weights = (
        (rng.normal(size=48) + labels).astype(np.float32),
        rng.uniform(0.2, 5, 48).astype(np.float32),
    )
    ids = np.arange(48, dtype=np.int32)
    stored = buffers.update(ScoreBuffers.init(policy, 48), scores, labels, ids, weights=weights)
    slopes_of = jax.jit(
        jax.grad(lambda s, y, i, w: loss_beside(stored, s, y, i, weights=w, stratified=stratified))
    )
    slopes, total = np.zeros(48), np.bincount(labels, weights)
    for at in (
        rng.permutation(48).reshape(12, 4) if not stratified else ids.reshape(12, 4)
    ):  # one positive in each
        own = np.bincount(labels[at], weights[at], 2)
        # as much of the set as the batch is: of all its weight, or class by class
        share = (own / total)[labels[at]] if stratified else own.sum() / total.sum()
        slopes[at] = np.asarray(slopes_of(scores[at], labels[at], at, weights[at])) * share
    _, expected = all_pairs(scores, labels, weights)
    assert np.abs(slopes - expected).max() < 1e-5 * np.abs(expected).max()  # float32 sums of 48 terms
    with pytest.raises(ValueError, match="scores and weights differ in shape"):
        buffers.update(stored, scores, labels, ids, weights=weights[:3])
