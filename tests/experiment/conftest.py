"""A representation cache made up in memory: patients with two films, a lesion in some cells of the positive ones."""

from types import SimpleNamespace

import numpy as np
import pytest

ROWS, COLUMNS, CHANNELS = 4, 5, 6


class Maps:
    """What `Bags` reads of a `Representations`. values: float32[n, rows, columns, c]."""

    copies = 1

    def __init__(self, values):
        self.values = values
        self.channels = values.shape[-1]
        self.shapes = [values.shape[1:3]] * len(values)
        self.key = "made up"

    def __len__(self):
        return len(self.values)

    def read(self, i, copy=0):
        return self.values[i]

    def tissue(self, i, copy=0):
        return np.ones(self.shapes[i], bool)


@pytest.fixture(scope="session")
def films():
    """80 patients with two films that look alike, as films of one woman do; every fourth has a lesion in both."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(80), 2)
    labels = (patients % 4 == 0).astype(np.int32)
    woman = rng.normal(size=(80, ROWS, COLUMNS, CHANNELS))[patients]
    values = woman + 0.1 * rng.normal(size=woman.shape)
    values[labels == 1, 1, 2, 0] += 6.0
    return SimpleNamespace(maps=Maps(values.astype(np.float32)), patients=patients, labels=labels)
