"""Kernels and the optimiser's state that lie spread over devices: the numbers of one device, and what travels for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mammojax.training.spreading import spread_axis

ROOT = Path(__file__).resolve().parents[2]
KERNEL = 4 * 5 * 16  # bytes of the one that is spread


def program(*arguments):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "8",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",  # compiled in two thirds of the time
    }
    command = [sys.executable, Path(__file__).with_name("spread_kernels_program.py"), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, timeout=3600)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["devices"] == 8
    return told


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return program("stored", tmp_path_factory.mktemp("fits"))


# shares of the largest value: float32 sums in another order, through the steps of Adam (2e-7 seen)
NEAR = 2e-5


def test_spread_kernels_give_the_losses_and_parameters_of_one_device(told):
    assert told["stored scores"] < NEAR


@pytest.mark.slow
def test_so_they_do_where_slopes_go_through_a_step_and_where_batches_share_one():
    told = program("more")
    assert told["compositional"] < NEAR and told["two passes"] < NEAR


def test_each_device_holds_its_part_of_a_large_kernel_and_of_all_that_the_optimiser_keeps(told):
    assert told["parts"] == [[5, 2]] * 5  # parameters, both moments, running mean, what decay pulls to
    assert told["last kernel"] == [16, 1]  # smaller than was said


def test_a_step_collects_the_kernel_and_sums_to_each_device_its_part_of_the_slopes(told):
    """Whole sums of the other parameters alone (33 numbers), of the loss, and what the buffers store of the batch."""
    sent = told["sent"]
    assert set(sent) == {"all-reduce", "collective-permute", "all-gather", "reduce-scatter"}
    assert sent["all-gather"] == KERNEL
    assert sent["reduce-scatter"] == KERNEL / 8  # of its results
    assert sent["all-reduce"] + sent["collective-permute"] < 4 * 33 + 1250  # 1,328 in all seen


def test_a_checkpoint_goes_on_on_fewer_and_on_more_devices(told):
    """In the middle of an epoch; the slots that fill up the score buffers differ in number."""
    for apart, said in told["resumed"]:
        assert said == ["resumed after epoch 2, step 2 of the next"]
        assert apart < NEAR


@pytest.mark.parametrize(
    ("shape", "parts", "least", "axis"),
    [
        ((3, 3, 1280, 256), 8, 1000, 2),
        ((512, 512), 8, 1000, 1),
        ((3, 3, 1281, 256), 8, 1000, 3),  # the longest is not divided
        ((7, 9), 8, 1, None),
        ((4096,), 8, 1, None),  # no kernel
        ((64, 64), 8, 4097, None),
        ((64, 64), 8, 0, None),
    ],
)
def test_a_kernel_is_spread_along_its_longest_axis_that_the_devices_divide(shape, parts, least, axis):
    assert spread_axis(shape, parts, least) == axis
