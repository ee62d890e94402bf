"""Stage one: what chooses the epoch, and that a fold knows nothing of the films that it is tested on."""

import numpy as np
import pytest

from mammojax import settings
from mammojax.datasets.samples import Samples
from mammojax.errors import UserError
from mammojax.evaluation.metrics import auc
from mammojax.experiment.maps import MapLearner, chosen_epoch
from mammojax.experiment.split import splits
from mammojax.models.classifiers import mil
from mammojax.representations.bags import Bags
from mammojax.training.objectives import Logistic
from mammojax.training.step import Maps

NAN = float("nan")


@pytest.mark.parametrize("curves, select, epoch", [
    ([{1: 0.5, 2: 0.9, 3: 0.6}, {1: 0.5, 2: 0.6, 3: 0.8}], "inner", 2),  # means 0.5, 0.75, 0.7
    ([{1: 0.7, 2: 0.7, 3: 0.6}], "inner", 1),  # of equals the earliest
    ([{1: 0.9, 2: 0.5}], "last", 2),
    ([{5: 0.9, 10: 0.5, 12: 0.4}, {5: NAN, 10: NAN, 12: NAN}], "inner", 5),  # a fold without a class has no say
    ([{1: NAN, 2: NAN}], "inner", 2),  # nothing to choose by
    ([{0: 0.8, 1: 0.7}, {0: 0.8, 1: 0.7}], "inner", 0),  # stage two: the start is a candidate
])  # fmt: skip
def test_the_epoch_is_that_of_the_best_mean_inner_curve(curves, select, epoch):
    assert chosen_epoch(curves, select)[0] == epoch


def test_the_mean_curve_is_told():
    _, mean = chosen_epoch([{1: 0.5, 2: 0.9}, {1: NAN, 2: 0.7}], "inner")
    assert mean == {1: 0.5, 2: pytest.approx(0.8)}


def learned(films, labels, folder, *, batch=0, epochs=10, rate=0.1, regularisation=0.0):
    n = len(labels)
    flat = films.maps.values.reshape(-1, films.maps.channels)
    members = tuple(np.asarray([i]) for i in range(n))
    bags = Bags(films.maps, members, spatial=False, mean=flat.mean(0), deviation=flat.std(0))
    parts = splits(
        Samples(tuple(map(str, range(n))), members, labels, films.patients), folds=2, inner=2, seed=0
    )[0]
    training = settings.with_overrides(settings.Settings(), {
        "training.batch": batch, "training.epochs": epochs, "training.learning_rate": rate, "training.select": "last",
        "training.regularisation": regularisation, "training.evaluate_every": 5,
    }).training  # fmt: skip

    def build(seed):
        from flax import nnx

        return mil.build(bags.shape, settings.Mil(top=0.05), rngs=nnx.Rngs(seed))

    learner = MapLearner(bags, Maps(*bags.stacked()), labels, build=build, objective=Logistic(), training=training,
                         say=lambda text: None, track=lambda it, **_: it)  # fmt: skip
    return learner.learn(parts, folder, seed=1, name="bce"), parts


@pytest.mark.parametrize("batch", [0, 32], ids=["whole set", "batches"])
def test_a_lesion_is_learned_and_told_on_films_that_were_held_out(films, tmp_path, batch):
    found, parts = learned(films, films.labels, tmp_path, batch=batch)
    assert found.epoch == 10 and len(found.out_of_fold) == len(parts.train)
    assert auc(found.scores, films.labels[parts.held_out]) > 0.95
    assert auc(found.out_of_fold, films.labels[parts.train]) > 0.9
    assert sorted(found.inner_auc) == [5, 10]
    assert (tmp_path / "metrics.jsonl").read_text().count("held_out_auc") == 2


def test_whole_sets_whose_loss_is_no_number_are_said_in_one_line(films, tmp_path):
    with pytest.raises(UserError, match="the loss or a score is not finite by epoch 10 of bce; lower"):
        learned(films, films.labels, tmp_path, rate=100.0, regularisation=1000.0)


def test_with_labels_exchanged_among_patients_nothing_is_told(films, tmp_path):
    """Both films of a woman look alike, so that a patient on both sides of a split would be recognised."""
    exchanged = np.random.default_rng(5).permutation(films.labels[::2])[films.patients]
    found, parts = learned(films, exchanged, tmp_path, epochs=40)
    for scores, which in ((found.scores, parts.held_out), (found.out_of_fold, parts.train)):
        labels = exchanged[which]
        positive, negative = (
            labels.sum() / 2,
            (1 - labels).sum() / 2,
        )  # patients: their two films say the same
        deviation = np.sqrt(
            (positive + negative + 1) / (12 * positive * negative)
        )  # Mann and Whitney, no difference
        assert abs(auc(scores, labels) - 0.5) < 1.96 * deviation
