"""A training step over many devices gives the numbers of one device, and moves little between them."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def program(*arguments, devices=1):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
    }
    command = [sys.executable, Path(__file__).with_name("mesh_program.py"), *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )


def told(process):
    out, errors = process.communicate(timeout=3600)  # a hang, not a slow machine
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def eight():
    return told(program(devices=8))


# shares of the largest value: float32 sums in another order, through twenty steps of Adam (3e-7 seen)
NEAR = 2e-5


@pytest.mark.parametrize("name", ["buffer all", "batch", "weighted logistic"])
def test_eight_devices_give_the_losses_parameters_and_scores_of_one(eight, name):
    assert eight["devices"] == 8
    assert max(eight[name]) < NEAR


def test_a_step_sums_over_the_devices_and_gathers_nothing(eight):
    """Gradients travel, the 32 samples of the batch, and (tiled pairs) a device's scores around the ring; no maps."""
    assert set(eight["collectives"]) == {"all-reduce", "collective-permute"}
    gradient = 4 * (5 * 16 + 16 + 16 + 1)  # bytes; 928 in all seen
    assert gradient < sum(eight["collectives"].values()) < gradient + 2000


def test_two_real_processes_give_the_numbers_of_one(eight):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [program(port, 2, k) for k in range(2)]
    for found in map(told, both):
        assert (found["processes"], found["devices"]) == (2, 2)
        for name in ("buffer all", "weighted logistic"):
            for many, one in zip(found[name], eight[f"{name} of one"], strict=True):
                assert np.abs(np.subtract(many, one)).max() < NEAR * np.abs(one).max()
