"""Eight devices give what one gives, and only moments travel. Runs a program of its own: devices are set at start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # programs for eight devices compile for more than 90 CPU seconds


@pytest.fixture(scope="module")
def found():
    return run()


def run(*arguments):
    here = Path(__file__)
    environment = {**os.environ, "PYTHONPATH": str(here.parents[2]), "JAX_NUM_CPU_DEVICES": "8"}
    program = [sys.executable, str(here.with_name("sharded_program.py")), *arguments]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_losses_gradients_and_the_auc_of_eight_devices_are_those_of_one(found):
    # sums in another order: a few units of 6e-8, of the largest element
    differences = {k: v for k, v in found.items() if k != "collectives" and not k.startswith("buffers")}
    assert len(differences) == 5 and max(differences.values()) < 1e-6, differences


def test_buffers_on_eight_devices_hold_what_one_would(found):
    assert found["buffers all"] < 2e-6  # after a drift that is summed in another order


def test_more_forms_of_the_loss_and_the_small_buffers_on_eight_devices():
    found = {k: v for k, v in run("all").items() if k != "collectives"}
    assert len(found) == 13 and max(found.values()) < 2e-6, found


def test_the_bytes_that_travel_under_fast_do_not_grow_with_the_scores(found):
    small, large = found["collectives"]["8000"], found["collectives"]["64000"]
    outside, plain, compressed, every_pair = small
    # the range and the class weights: scalars
    assert sum(moved for _, moved in outside) < 100
    # 256 cells x 2 classes x 6 moments in float32
    assert [moved for _, moved in plain] == [256 * 2 * 6 * 4]
    # which of 2^18 blocks are occupied, a byte each, and in a loop over those that are used the moments of 64 blocks of 64 cells
    assert [moved for _, moved in compressed] == [2**18, 64 * 64 * 2 * 6 * 4]
    assert small[:3] == large[:3]
    # the scores themselves move only where no grid holds them
    assert {name for name, _ in every_pair} == {"ppermute", "psum_invariant"}
