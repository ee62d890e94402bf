"""Which environments JAX is asked to look at, and what is said where it finds nothing."""

import os
import socket
import subprocess
import sys

import pytest
from program import ROOT, error_line, run

from launch import joining


@pytest.mark.parametrize(
    "environment, looked_at",
    [
        ({}, False),
        ({"SLURM_NTASKS": "1"}, False),
        ({"SLURM_NTASKS": "2"}, True),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"KUBERNETES_SERVICE_HOST": "h", "JOB_COMPLETION_INDEX": "0"}, True),
        ({"KUBERNETES_SERVICE_HOST": "h"}, False),  # a pod of no Indexed Job: a notebook's
    ],
)
def test_a_cluster_is_what_jax_can_find(monkeypatch, environment, looked_at):
    monkeypatch.setattr(
        joining.importlib.util, "find_spec", lambda name: name if name == "kubernetes" else None
    )
    assert joining._is_cluster(environment) is looked_at


def test_processes_of_mpirun_that_jax_does_not_find_are_not_taken_for_programs_of_their_own(
    tmp_path, monkeypatch
):
    monkeypatch.setenv(
        "OMPI_COMM_WORLD_SIZE", "2"
    )  # without the address that Open MPI gives before version 5
    line = error_line(run("launch.scan", f"--config.run={tmp_path}"))
    assert line.startswith("error: mpirun started 2 processes") and line.endswith("or --alone")


KUBERNETES = """
from types import SimpleNamespace as Named

class ConfigException(Exception):
    pass

def no_token():
    raise ConfigException("Service token file does not exist.")

config = Named(load_incluster_config=no_token)
"""


def joined(folder, call):
    """What is printed by a process of a job whose pods are given no token."""
    (folder / "kubernetes.py").write_text(KUBERNETES)
    code = f"""
from mammojax.errors import UserError
from mammojax.runs import processes
try:
    print(processes.join({call}), processes.count())
except UserError as error:
    print(error)
"""
    own = {"KUBERNETES_SERVICE_HOST": "h", "JOB_COMPLETION_INDEX": "0", "PYTHONPATH": f"{folder}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **own}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kubernetes_that_cannot_be_asked_is_one_line(tmp_path):
    assert joined(tmp_path, "") == (
        "the processes of this program did not find each other (Service token file does not exist.); look at the "
        "coordinator, or give --alone\n"
    )


def test_kubernetes_is_not_asked_for_what_the_flags_say(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert joined(tmp_path, f"'127.0.0.1:{port}', 1, 0") == "False 1\n"
