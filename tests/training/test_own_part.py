"""Of several processes each reads its part of a batch, and that part is what it would be if it read everything."""

import numpy as np
import pytest

from mammojax.datasets.pipeline import Augmentation
from mammojax.representations.scan import record_plans
from mammojax.training import batches
from mammojax.training.batches import Drawing, evaluation_batches, map_batches, pixel_batches

OWN = {4: range(2, 4), 5: range(3, 5)}  # of a batch of that size, the second of two processes'


class Maps:
    """Twelve samples of two copies, each sample of its own value; says which were read."""

    shape, copies = (2, 3, 1), 2

    def __init__(self):
        self.seen = []

    def read(self, k, copy=0):
        self.seen.append(k)
        return np.full(self.shape, k + copy / 2, np.float32), np.ones(self.shape[:2], bool)


@pytest.fixture
def second(monkeypatch):
    """From its call on, this process is the second of two."""
    return lambda: monkeypatch.setattr(batches, "own_rows", lambda size, mesh: OWN[size])


def same_own_part(found, everything, size):
    assert len(found) == len(everything)
    for part, whole in zip(found, everything):
        own = [row for row in OWN[size] if whole.where[row]]
        for name in ("labels", "ids", "where"):  # of the whole batch in every process
            assert np.array_equal(getattr(part, name), getattr(whole, name))
        for name in ("inputs", "tissue"):
            assert np.array_equal(getattr(part, name)[own], getattr(whole, name)[own])
        others = [row for row in range(size) if row not in OWN[size]]
        assert not part.inputs[others].any()  # not read
        assert part.tissue.any((1, 2)).all()  # and yet no sample without cells, whose score is not finite


def test_maps(second):
    labels = (np.arange(12) % 3 == 0).astype(np.int32)
    everything = [b for (b,) in map_batches(Maps(), range(12), labels, drawing=Drawing(5), seed=3)(1)]
    plain = list(evaluation_batches(Maps(), range(12), labels, batch=5))
    second()
    maps = Maps()
    found = [b for (b,) in map_batches(maps, range(12), labels, drawing=Drawing(5), seed=3, mesh="two")(1)]
    same_own_part(found, everything, 5)
    assert len(maps.seen) == 4  # of batches of 5, 5 and 2: two, two and none
    same_own_part(list(evaluation_batches(Maps(), range(12), labels, batch=5, mesh="two")), plain, 5)


def test_pixels_with_their_random_changes(second, pictures, network):
    plans = record_plans(pictures, network, np_=2)
    options = {"batch": 4, "seed": 5, "augmentation": Augmentation(flip=0.5, intensity=0.2)}
    made = pixel_batches(pictures, range(12), pictures.labels, plans, **options)
    everything = [b for (b,) in made(2)]
    second()
    made = pixel_batches(pictures, range(12), pictures.labels, plans, mesh="two", **options)
    same_own_part([b for (b,) in made(2)], everything, 4)
    same_own_part([b for (b,) in made(2, 2)], everything[2:], 4)  # resumed within the epoch
