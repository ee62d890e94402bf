"""Pairs within groups, pairs that are excluded, several labels: against every pair in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mammojax.losses import auc_losses, multilabel_auc_loss, pairwise_auc_loss
from mammojax.losses.pairwise import _ids
from tests.losses.float64 import PAIRS, all_pairs

SIZE = 120


def sample(seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random(SIZE) < 0.3).astype(np.int32)
    scores = (rng.normal(size=SIZE) + labels).astype(np.float32)
    sites, patients = rng.integers(-2, 3, SIZE), rng.integers(0, 40, SIZE)
    return scores, labels, rng.uniform(0.5, 2, SIZE).astype(np.float32), sites, patients


def reference(scores, labels, weights, counts, surrogate="logistic"):
    """(loss, gradient) over the pairs [positive, negative] of the matrix counts, bool[n, n]."""
    value, slope = PAIRS[surrogate]
    s, w = scores.astype(np.float64), weights.astype(np.float64)
    pair = counts * np.outer(w * (labels == 1), w * (labels == 0))
    pair /= pair.sum()
    d = s[None] - s[:, None]
    return (pair * value(d)).sum(), (pair * slope(d)).sum(0) - (pair * slope(d)).sum(1)


@functools.cache
def program(groups, exclude, surrogate="logistic", reduction="mean"):
    def loss(scores, labels, weights, where, sites, patients):
        return pairwise_auc_loss(
            scores, labels, weights=weights, where=where, surrogate=surrogate, implementation="materialized",
            groups=sites if groups else None, exclude=patients if exclude else None, reduction=reduction,
        )  # fmt: skip

    return jax.jit(jax.value_and_grad(loss))


@pytest.mark.parametrize("groups, exclude, surrogate", [
    (True, False, "logistic"), (False, True, "logistic"), (True, True, "logistic"), (False, True, "square"),
])  # fmt: skip
def test_only_the_pairs_that_are_asked_for_count(groups, exclude, surrogate):
    scores, labels, weights, sites, patients = sample()
    where = np.arange(SIZE) % 7 > 0
    counts = np.outer(where, where)
    if groups:
        counts &= sites[:, None] == sites
    if exclude:
        counts &= patients[:, None] != patients
    expected, slopes = reference(scores, labels, weights, counts, surrogate)
    dirty = np.where(where, scores, np.nan).astype(np.float32)
    loss, gradient = program(groups, exclude, surrogate)(dirty, labels, weights, where, sites, patients)
    assert float(loss) == pytest.approx(expected, rel=2e-6)
    # of the largest element: exclusion is a difference
    assert np.abs(gradient - slopes).max() < 3e-6 * np.abs(slopes).max()


def test_where_no_pair_is_left_the_loss_is_zero_and_a_nan_is_seen():
    scores, labels, weights, sites, _ = sample()
    everywhere, one = np.ones(SIZE, bool), np.zeros(SIZE, int)
    alone = np.arange(SIZE)
    for f, ids, others in ((program(True, False), alone, one), (program(False, True), one, one)):
        loss, gradient = f(scores, labels, weights, everywhere, ids, others)
        assert float(loss) == 0 and (np.asarray(gradient) == 0).all()
    scores[5] = np.nan
    for f in (program(True, False), program(False, True)):
        assert np.isnan(f(scores, labels, weights, everywhere, sites, alone)[0])


def test_one_group_is_the_plain_loss_and_distinct_ids_exclude_nothing():
    scores, labels, weights, _, _ = sample()
    expected, slopes = all_pairs(scores, labels, weights)
    everywhere, one, alone = np.ones(SIZE, bool), np.full(SIZE, 3), np.arange(SIZE)
    for f in (program(True, False), program(False, True)):
        loss, gradient = f(scores, labels, weights, everywhere, one, alone)
        assert float(loss) == pytest.approx(expected, rel=2e-6)
        assert np.abs(gradient - slopes).max() < 3e-6 * np.abs(slopes).max()


def test_groups_under_axis_name_are_refused():
    with pytest.raises(ValueError, match="groups and exclude see one device"):
        pairwise_auc_loss(jnp.ones(2), jnp.array([0, 1]), groups=jnp.zeros(2, int), axis_name="data")


@pytest.mark.parametrize("implementation", ["materialized", "tiled"])
def test_several_labels_are_one_loss_each_and_their_mean_over_those_that_have_both_classes(implementation):
    rng = np.random.default_rng(1)
    labels = (rng.random((SIZE, 3)) < 0.3).astype(np.int32)
    labels[:, 2] = 1  # no negatives
    scores = rng.normal(size=(SIZE, 3)).astype(np.float32)
    where = rng.random((SIZE, 3)) < 0.8
    labels = np.where(where, labels, -1)  # what is missing may hold anything
    options = {"where": where, "implementation": implementation}
    each = jax.jit(functools.partial(auc_losses, **options))(scores, labels)
    expected = [all_pairs(scores[where[:, k], k], labels[where[:, k], k]) for k in (0, 1)]
    assert np.allclose(each, [expected[0][0], expected[1][0], 0], rtol=2e-6)
    mean = functools.partial(multilabel_auc_loss, label_weights=np.array([1.0, 3.0, 5.0]), **options)
    loss, gradient = jax.jit(jax.value_and_grad(mean))(scores, labels)
    assert float(loss) == pytest.approx((expected[0][0] + 3 * expected[1][0]) / 4, rel=2e-6)
    for k, share in ((0, 0.25), (1, 0.75)):
        slopes = np.zeros(SIZE)
        slopes[where[:, k]] = share * expected[k][1]
        assert np.abs(gradient[:, k] - slopes).max() < 3e-6 * np.abs(slopes).max()
    assert (np.asarray(gradient[:, 2]) == 0).all()


def test_few_large_groups_are_labels_with_masks():
    scores, labels, _, sites, _ = sample()
    columns = np.broadcast_to(scores[:, None], (SIZE, 5)), np.broadcast_to(labels[:, None], (SIZE, 5))
    members = sites[:, None] == np.arange(-2, 3)
    found = auc_losses(*columns, where=members, implementation="materialized")
    expected = [all_pairs(scores[members[:, g]], labels[members[:, g]])[0] for g in range(5)]
    assert np.allclose(found, expected, rtol=2e-6)


def test_labels_of_the_wrong_shape_are_an_error():
    with pytest.raises(ValueError, match=r"one shape \[n, k\], got \(3,\) and \(3,\)"):
        auc_losses(jnp.ones(3), jnp.ones(3))


def test_ids_that_32_bits_do_not_hold_are_told_apart():
    scores, labels, _, _, patients = sample()
    for far in (patients.astype(np.int64) << 32, patients + 2.0**40, [int(i) << 40 for i in patients]):
        ids = np.asarray(_ids(far, scores.shape))
        assert np.array_equal(ids[:, None] == ids, patients[:, None] == patients)
    loss = functools.partial(pairwise_auc_loss, scores, labels, implementation="materialized")
    found, expected = (float(loss(exclude=ids)) for ids in (patients.astype(np.int64) << 32, patients))
    assert found == expected
    with pytest.raises(ValueError, match="scores and group ids differ in shape"):
        loss(groups=patients, exclude=patients[:5])


@pytest.mark.parametrize("kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit], ids=str)
def test_several_labels_are_taken_inside_shard_map_and_split_over_devices(kind):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(kind,))
    scores, labels, _, _, _ = sample()
    columns = np.stack([scores, -scores], 1), np.stack([labels, labels], 1)
    loss = functools.partial(multilabel_auc_loss, implementation="tiled")
    split, same = jax.sharding.PartitionSpec("data"), jax.sharding.PartitionSpec()
    if kind == jax.sharding.AxisType.Auto:
        found = jax.shard_map(
            functools.partial(loss, axis_name="data"), mesh=mesh, in_specs=split, out_specs=same
        )
    else:
        found = loss
        columns = jax.device_put(columns, jax.sharding.NamedSharding(mesh, split))
    expected = np.mean([all_pairs(sign * scores, labels)[0] for sign in (1, -1)])
    assert float(jax.jit(found)(*columns)) == pytest.approx(expected, rel=2e-6)
