"""Four real processes as one program: the losses and parameters of one device, and a fit that is stopped and goes on.

python -m pytest -m slow tests/training/test_four_processes.py
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NUMBER = 4
NEAR = 2e-5  # a share of the largest value: float32 sums in another order, through twenty steps of Adam (2e-7 seen)


@pytest.mark.slow  # each compiles its programs for itself
def test_four_processes_give_the_numbers_of_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "1",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",  # compiled in two thirds of the time
    }
    command = [sys.executable, str(Path(__file__).with_name("spread_kernels_program.py")), "processes"]
    command += [str(tmp_path), str(port), str(NUMBER)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [
        subprocess.Popen([*command, str(own)], env=environment, cwd=ROOT, **pipes) for own in range(NUMBER)
    ]
    said = [process.communicate(timeout=3600) for process in started]  # a hang, not a slow machine
    assert [process.returncode for process in started] == [0] * NUMBER, said
    for out, _ in said:
        told = json.loads(out.splitlines()[-1])
        assert (told["processes"], told["devices"]) == (NUMBER, NUMBER)
        assert told["replicated"] < NEAR
        assert told["spread"] < NEAR  # kernels and the optimiser's state too
        apart, lines = told["resumed"]
        assert apart < NEAR
        assert lines == ["resumed after epoch 2, step 2 of the next"]
