"""Small pictures in two shapes, as a prepared data set gives them, and a network with the channels it has."""

import copy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

SHAPES = ((100, 60), (140, 90))  # two plans
CHANNELS = 24


class Pictures:
    """What scanning and training read of a `RecordSet`: twelve crops, the last two of another shape, a third positive."""

    directory = Path("pictures")

    def __init__(self):
        rng = np.random.default_rng(0)
        self.labels = (np.arange(12) % 3 == 0).astype(np.int32)
        self.images = [
            rng.integers(0, 4096, SHAPES[i > 9]).astype(np.uint16) // (1 + self.labels[i]) for i in range(12)
        ]
        self.records = tuple(
            SimpleNamespace(height=image.shape[0], width=image.shape[1], record=str(i), sha256=str(i),
                            patient=str(i), breast=str(i), label=int(self.labels[i]))
            for i, image in enumerate(self.images)
        )  # fmt: skip

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return {"image": self.images[i], "bits": 12, "label": int(self.labels[i]), "index": i}


@pytest.fixture
def pictures():
    return Pictures()


@pytest.fixture
def network(thin_network):
    own = copy.deepcopy(thin_network)
    own.channels = CHANNELS
    return own
