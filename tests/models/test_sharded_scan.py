"""The rows of one image over eight simulated devices: the same numbers as one device, and no device gathers the image."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent


def run(tmp_path, name, padding, *meshes):
    path = os.pathsep.join([str(HERE.parents[1]), str(HERE)])
    environment = {**os.environ, "PYTHONPATH": path, "JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu"}
    program = [sys.executable, HERE / "sharded_scan_program.py", name, padding, tmp_path / "found.npz"]
    program += meshes
    done = subprocess.run(program, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return np.load(tmp_path / "found.npz")


AXES = ["rows", pytest.param("both", marks=pytest.mark.slow)]  # a program each


@pytest.fixture(scope="module")
def sharded_vgg_m(tmp_path_factory):
    """For one mesh: what one device and eight find, made once."""
    found = {}

    def of(axes):
        if axes not in found:
            found[axes] = run(tmp_path_factory.mktemp("sharded"), "vgg_m", "own", axes)
        return found[axes]

    return of


def norm_of_difference(found, what, axes):
    one, many = (found[f"{a} {what}"].astype(np.float64) for a in ("one", axes))
    return np.linalg.norm(one - many) / np.linalg.norm(one)


@pytest.mark.parametrize("axes", AXES)
def test_representation_and_gradient_are_those_of_one_device(sharded_vgg_m, axes):
    for what in ("representation", "pixels", "weights"):
        # float32 sums split by devices; a gradient that missed a neighbour's rows would be off by per cent
        assert norm_of_difference(sharded_vgg_m(axes), what, axes) < 1e-5, what


@pytest.mark.parametrize("axes", AXES)
def test_neighbours_exchange_rows_and_nobody_gathers_the_image(sharded_vgg_m, axes):
    found = sharded_vgg_m(axes)
    assert found[f"{axes} exchanged"] > 0
    assert found[f"{axes} gathered"] < found["image"] / 20  # the representation at most


@pytest.mark.slow
@pytest.mark.parametrize("name, padding", [("vgg_m", "valid"), ("efficientnet_lite0", "own")])
def test_other_readings_are_those_of_one_device_too(tmp_path, name, padding):
    found = run(tmp_path, name, padding, "rows", "both")
    for axes in ("rows", "both"):
        assert norm_of_difference(found, "representation", axes) < 1e-5
        for what in ("pixels", "weights"):
            # a rounding may turn single switches of ReLU6; a wrong partition of the maxima was off by 10% and more
            assert norm_of_difference(found, what, axes) < 1e-2, what
