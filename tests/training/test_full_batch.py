"""Many small heads at once, every step on the whole training set: each network is the one that is trained alone."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mammojax import settings
from mammojax.models.classifiers import mil
from mammojax.training.full_batch import filled, fit_full
from mammojax.training.objectives import Auc, Logistic, WeightedLogistic
from mammojax.training.optimizer import Optimizer
from mammojax.training.step import Maps

N, CELLS, CHANNELS = 20, 30, 6
RNG = np.random.default_rng(0)
LABELS = (np.arange(N) % 3 == 0).astype(np.int32)
VALUES = RNG.normal(size=(N, 1, CELLS, CHANNELS)).astype(np.float32)
VALUES[LABELS == 1, 0, :2, 0] += 4.0  # two cells of a positive tell
TISSUE = np.arange(CELLS)[None, None] < RNG.integers(20, CELLS + 1, (N, 1, 1))
MAPS = Maps(jnp.asarray(VALUES), jnp.asarray(TISSUE))
HALF = np.arange(N) < 12
OPTIMIZER = Optimizer(0.05, 30, schedule="step", warmup=0.0, clip=0.0, decay="penalty", regularisation=0.1)


def head(seed, **options):
    model = mil.build((1, CELLS, CHANNELS), settings.Mil(top=0.1, **options), rngs=nnx.Rngs(seed))
    model.set_normalisation(np.zeros(CHANNELS, np.float32), np.ones(CHANNELS, np.float32))
    return model


def fit(seeds, members, objective, **options):
    return fit_full(
        [head(s) for s in seeds], objective, OPTIMIZER, MAPS, LABELS, members, epochs=30, **options
    )


@pytest.mark.parametrize(
    "objective",
    [
        Auc(pairs="batch", implementation="materialized"),
        *(pytest.param(other, marks=pytest.mark.slow) for other in (Logistic(), WeightedLogistic())),
    ],
    ids=str,
)
def test_networks_fitted_together_are_those_fitted_alone(objective):
    members = np.stack([HALF, ~HALF | (np.arange(N) < 4), np.ones(N, bool)])
    together = fit([0, 1, 2], members, objective, evaluate_every=10)
    assert together.epochs.tolist() == [10, 20, 30] and together.scores.shape == (3, 3, N)
    for k in range(3):
        alone = fit([k], members[k : k + 1], objective, evaluate_every=10)
        # one product for all networks or one for each: float32 sums in another order, through thirty steps of Adam. Pairs
        # do not see the bias: its gradient is rounding alone, of which Adam makes full steps, so scores are centred.
        a, b = (
            scores - scores.mean(-1, keepdims=True) for scores in (together.scores[:, k], alone.scores[:, 0])
        )
        assert np.allclose(a, b, atol=2e-3)


def test_a_network_may_have_a_rate_and_a_decay_of_its_own():
    other = Optimizer(1.0, 30, schedule="step", warmup=0.0, clip=0.0, decay="penalty", regularisation=9.0)
    own = {"rates": [0.05, 0.01], "decays": [0.1, 2.0]}
    models, members = [head(0), head(0)], np.stack([HALF, HALF])
    found = fit_full(models, Logistic(), other, MAPS, LABELS, members, epochs=30, evaluate_every=30, **own)
    plain = fit([0], HALF[None], Logistic(), evaluate_every=30)
    # the same arithmetic in another program, through thirty steps of Adam
    assert np.allclose(found.scores[0, 0], plain.scores[0, 0], atol=2e-3)
    assert np.abs(found.scores[0, 1] - plain.scores[0, 0]).max() > 0.1


def test_samples_outside_the_training_set_do_not_touch_the_fit():
    changed = LABELS.copy()
    changed[~HALF] = 1 - changed[~HALF]
    one = fit_full([head(0)], Logistic(), OPTIMIZER, MAPS, LABELS, HALF[None], epochs=30)
    other = fit_full([head(0)], Logistic(), OPTIMIZER, MAPS, changed, HALF[None], epochs=30)
    assert np.array_equal(one.scores, other.scores)


def test_a_head_finds_the_telling_cells_and_is_returned_as_it_was_scored():
    found = fit([0], HALF[None], Logistic(), evaluate_every=7)
    assert found.epochs.tolist() == [7, 14, 21, 28, 30]
    scores = found.scores[-1, 0]
    assert scores[LABELS == 1].min() > scores[LABELS == 0].max()
    model = filled(head(5), found, network=0, evaluation=1)
    # the same arithmetic in another program
    assert np.allclose(model(VALUES, TISSUE, 1.0), found.scores[1, 0], atol=1e-4)
