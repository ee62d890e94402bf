"""Stage two is cross-fitted: what chooses and calibrates comes from networks that have not seen the film, start included."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from mammojax.datasets.pipeline import Augmentation
from mammojax.experiment.finetune import MergedLearner
from mammojax.experiment.maps import Learned
from mammojax.experiment.split import Split
from mammojax.representations.scan import record_plans
from mammojax.settings import Settings, with_overrides
from mammojax.training.objectives import Logistic


class Constant(nnx.Module):
    """Says the same of every film."""

    def __init__(self, value):
        self.value = nnx.Param(jnp.float32(value))

    def __call__(self, maps, where=None, progress=1.0):
        return self.value[...] + 0 * maps.mean((1, 2, 3))


class StageOne:
    """Classifiers that can be told apart: 100 for all training folds, 10 (k + 1) for inner fold k."""

    asked: tuple = ()

    def learn(self, parts, folder, *, seed, name):
        nothing = np.zeros(0)
        return Learned(nothing, nothing, 3, {}, Constant(100.0))

    def weights(self, fitted):
        return None

    def inner_model(self, parts, k, folder, *, seed, epoch, name):
        self.asked = (*self.asked, (k, epoch))
        return Constant(10.0 * (k + 1))


def test_each_inner_network_starts_from_the_classifier_of_its_own_inner_folds(pictures, network, tmp_path):
    train, held_out = np.arange(2, 12), np.arange(2)
    halves = train[:5], train[5:]
    parts = Split(0, 0, train, held_out, (halves[::-1], halves))
    settings = with_overrides(Settings(), {"finetune.batch": 4})
    stage_one = StageOne()
    learner = MergedLearner(
        pictures, pictures.labels, stage_one, network=network, plans=record_plans(pictures, network, np_=2),
        objective=Logistic(), training=settings.training, finetune=settings.finetune, augmentation=Augmentation(),
        intensity="none", precision="float32", workers=0, say=lambda text: None, track=lambda it, **_: it,
    )  # fmt: skip
    found = learner.learn(parts, tmp_path, seed=0, name="bce")  # no epochs: the start alone is watched
    assert stage_one.asked == ((0, 3), (1, 3))
    assert found.epoch == 0 and list(found.inner_auc) == [0]
    assert found.out_of_fold.tolist() == [10.0] * 5 + [20.0] * 5  # in the order of the training folds
    assert found.scores.tolist() == [100.0] * 2
