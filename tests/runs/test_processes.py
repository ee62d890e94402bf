"""Several processes in one run directory, and SIGKILL at random moments."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CASES = ("forty_starters", "killed_holders", "forked_child", "killed_stages", "shared_pieces")


@pytest.mark.parametrize("case", CASES)
def test_processes(case, tmp_path):
    """Each case is described and asserted in processes_program.py."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("processes_program.py"), case, tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
