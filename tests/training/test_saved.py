"""A model on disk is the model that was saved."""

import numpy as np
from flax import nnx

from mammojax.models.classifiers import mil
from mammojax.settings import Mil
from mammojax.training.saved import arrays_of, fill, read_arrays, save_arrays


def test_a_classifier_of_cells_is_read_back_with_its_bias_a_plain_number(tmp_path):
    saved, read = (mil.build((None, None, 4), Mil(), rngs=nnx.Rngs(seed)) for seed in (0, 1))
    saved.bias[...] = saved.bias[...] + 0.25
    save_arrays(tmp_path / "model.safetensors", arrays_of(saved, "classifier/"), {"stage": "maps"})
    arrays, facts = read_arrays(tmp_path / "model.safetensors")
    fill(read, arrays, "classifier/")
    maps = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    assert facts == {"stage": "maps"} and np.array_equal(read(maps), saved(maps))
