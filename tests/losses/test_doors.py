"""How one comes in: constants that are traced, keywords, scikit-learn's partial area, loops under vmap."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mammojax.losses import auc, pairwise_auc_loss

SCORES = np.array([2.0, -1.0, 0.5, 0.1], np.float32)
LABELS = np.array([1, 0, 0, 1])


@pytest.mark.parametrize("name", ["max_fpr", "min_tpr", "margin", "temperature"])
def test_a_traced_constant_is_named(name):
    with pytest.raises(ValueError, match=f"{name} is a constant of the program, got .*static_argnames"):
        jax.eval_shape(lambda x: pairwise_auc_loss(SCORES, LABELS, **{name: x}), 0.5)


def test_weights_cannot_be_taken_for_a_mask():
    with pytest.raises(TypeError):
        auc(SCORES, LABELS, np.ones(4))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_auc_and_the_partial_auc_are_those_of_scikit_learn(tied, weighted):
    rng = np.random.default_rng(0)
    for _ in range(3):
        labels = (rng.random(80) < 0.3).astype(np.int32)
        scores = rng.normal(size=80) + labels
        scores = (np.round(scores) if tied else scores).astype(np.float32)  # runs of ties lie across the cut
        weights = rng.uniform(0.2, 3, 80).astype(np.float32) if weighted else np.ones(80, np.float32)
        for max_fpr in (0.1, 0.37, 1.0):
            area = jax.jit(functools.partial(auc, max_fpr=max_fpr))
            found = area(scores, labels, weights=weights, where=np.ones(80, bool))
            expected = roc_auc_score(labels, scores, sample_weight=weights, max_fpr=max_fpr)
            assert float(found) == pytest.approx(expected, abs=2e-7)  # float32 holds it to 6e-8


def test_a_share_outside_its_range_is_an_error():
    with pytest.raises(ValueError, match="max_fpr must be above 0 and at most 1, got 0"):
        auc(SCORES, LABELS, max_fpr=0)


def test_tiled_square_works_under_vmap():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(3, 16)).astype(np.float32), (np.arange(16) % 3 == 0).astype(np.int32)
    found, expected = (
        jax.jit(
            jax.vmap(
                jax.value_and_grad(
                    lambda s, i=i: pairwise_auc_loss(s, labels, surrogate="square", implementation=i)
                )
            )
        )(scores)
        for i in ("tiled", "materialized")
    )
    assert np.allclose(found[0], expected[0], rtol=1e-6) and np.allclose(found[1], expected[1], atol=1e-6)


def test_a_gradient_that_would_count_every_device_is_refused():
    # traced for two devices that need not be there
    mesh = jax.sharding.AbstractMesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")

    def slopes(s, y):
        return jax.grad(functools.partial(pairwise_auc_loss, axis_name="data"))(s, y)

    def trace(check):
        mapped = jax.shard_map(slopes, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=check)
        return jax.eval_shape(mapped, jnp.asarray(SCORES), jnp.asarray(LABELS))

    assert trace(True).shape == (4,)
    with pytest.raises(
        ValueError, match="too large by the number of devices; use jax.shard_map with its default"
    ):
        trace(False)
