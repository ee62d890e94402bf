"""One program over several real processes, started as schedulers start them: found, joined, stopped and lost together."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from program import ROOT

from mammojax.experiment.predictions import read_predictions
from mammojax.runs.stopping import EXIT_CODE
from mammojax.training.metrics import read_metrics

# a third of the training set a step, its scores stored on both devices; little to compile
ARM = (
    "cells_auc:model.classifier=pooled,model.pooled.statistics=mean,loss.implementation=tiled,training.batch=6,"
    "training.learning_rate=0.0003,training.evaluate_every=1,training.epochs="
)
HANG = 600  # seconds, of a slow machine
KUBERNETES = """
import io, sys
from types import SimpleNamespace as Named

pod = Named(
    metadata=Named(name="mammojax-0-x", labels={"job-name": "mammojax"},
                   owner_references=[Named(controller=True, kind="Job")]),
    spec=Named(subdomain="mammojax"),
)
job = Named(metadata=Named(name="mammojax", labels={}), spec=Named(parallelism=2))
config = Named(load_incluster_config=lambda: None)
client = Named(
    CoreV1Api=lambda: Named(list_namespaced_pod=lambda **_: Named(items=[pod])),
    BatchV1Api=lambda: Named(read_namespaced_job=lambda **_: job),
    exceptions=Named(ApiException=OSError),
)
sys.modules["jax._src.clusters.k8s_cluster"].open = lambda path: io.StringIO("default")  # a file of the pod
"""


def free_port(first=1024, last=65535):
    for port in range(first + os.getpid() % 1000, last):
        with socket.socket() as free:
            try:
                free.bind(("", port))
                return port
            except OSError:
                continue
    raise OSError("no port is free")


def start(launcher, settings, *arguments, log, **environment):
    """The launcher on the set of `settings`, in a process of its own; what it prints goes into `log`."""
    flags = {
        "data.prepared": f"{settings.run}/prepared",
        "scan.representations": f"{settings.run}/representations",
    }
    command = [
        sys.executable,
        "-m",
        f"launch.{launcher}",
        f"--config=configs/rerun.py:{settings.run}/config.json",
    ]
    command += [f"--config.{name}={value}" for name, value in flags.items()]
    with open(log, "w") as file:
        return subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **{k: str(v) for k, v in environment.items()}},
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def lines(log):
    """What was said, without the progress bars and the words of the collectives library."""
    said = Path(log).read_text().replace("\r", "\n").splitlines()
    return [
        line for line in said if line and "it/s" not in line and "s/it" not in line and "[Gloo]" not in line
    ]


def pair(launcher, settings, folder, *arguments, port):
    """Two processes with explicit flags."""
    common = (f"--coordinator=127.0.0.1:{port}", "--processes=2", "--lost_after=8", *arguments)
    return [start(launcher, settings, *common, f"--process={k}", log=folder / f"{k}.log") for k in range(2)]


def ended(processes):
    return [process.wait(timeout=HANG) for process in processes]


def training(folder, log, processes):
    """Waits until checkpoints are being written."""
    until = time.monotonic() + HANG
    while not list(Path(folder).glob("cells/**/checkpoints/*/checksums.json")):
        alive = all(process.poll() is None for process in processes)
        assert alive and time.monotonic() < until, Path(log).read_text()
        time.sleep(0.1)


def test_two_tasks_of_slurm_train_on_one_mesh_and_give_the_numbers_of_one(finished_run, tmp_path):
    settings = finished_run.settings
    arguments = (f"--arm={ARM}3", "--fold=0")
    one = start("train", settings, *arguments, f"--config.run={tmp_path}/one", log=tmp_path / "one.log")
    assert one.wait(timeout=HANG) == 0, (tmp_path / "one.log").read_text()
    job = free_port(61440) - 61440  # JAX makes the port of the job's number
    both = [
        start("train", settings, *arguments, f"--config.run={tmp_path}/two", log=tmp_path / f"{k}.log",
              SLURM_JOB_ID=job, SLURM_STEP_NODELIST="localhost", SLURM_NTASKS=2, SLURM_PROCID=k, SLURM_LOCALID=k)
        for k in range(2)
    ]  # fmt: skip
    assert ended(both) == [0, 0], (tmp_path / "0.log").read_text() + (tmp_path / "1.log").read_text()
    (where,) = [line for line in lines(tmp_path / "0.log") if "2 processes" in line]
    assert "2 devices" in where and "mesh data 2" in where and "batch 16, 8 a device" in where, where
    assert lines(tmp_path / "1.log") == []  # said once
    cells = [next((tmp_path / name / "cells").glob("*/stage.json")).parent for name in ("one", "two")]
    assert cells[0].name == cells[1].name
    alone, together = ([m["loss"] for m in read_metrics(cell / "metrics.jsonl")] for cell in cells)
    # float32 sums in another order, through the steps of Adam, which makes full steps of a gradient that is rounding
    # alone (the bias, which pairs do not see); 4e-5 seen
    assert len(alone) == 3 and together == pytest.approx(alone, rel=3e-4)
    alone, together = (np.array([float(row["score"]) for row in read_predictions(cell)]) for cell in cells)
    apart = (together - together.mean()) - (alone - alone.mean())
    assert np.abs(apart).max() < 5e-3 * np.ptp(alone)  # 1e-3 seen


def test_pods_of_an_indexed_job_find_each_other(finished_run, tmp_path):
    (tmp_path / "kubernetes").mkdir()
    (tmp_path / "kubernetes" / "__init__.py").write_text(KUBERNETES)
    # the coordinator's name is the service's, which nobody resolves here
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "localhost",
                   "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}",
                   "PYTHONPATH": f"{tmp_path}:{ROOT}"}  # fmt: skip
    both = [
        start("scan", finished_run.settings, f"--config.run={tmp_path}/run", "--config.model.map=dense",
              log=tmp_path / f"{k}.log", **environment | {"JOB_COMPLETION_INDEX": k})
        for k in range(2)
    ]  # fmt: skip
    assert ended(both) == [0, 0], (tmp_path / "0.log").read_text()
    assert any(line.startswith("2 processes, the first is") for line in lines(tmp_path / "0.log"))
    assert lines(tmp_path / "1.log") == []


def test_a_request_to_one_stops_both_after_the_same_step_and_a_lost_one_ends_the_other(
    finished_run, tmp_path
):
    arguments = (f"--arm={ARM}90000,training.checkpoint_every=5", "--fold=0", f"--config.run={tmp_path}/run")
    port = free_port(20000)
    first, second = pair("train", finished_run.settings, tmp_path, *arguments, port=port)
    training(tmp_path / "run", tmp_path / "0.log", (first, second))
    second.send_signal(signal.SIGTERM)
    assert ended([first, second]) == [EXIT_CODE] * 2, (tmp_path / "1.log").read_text()
    assert [line for line in lines(tmp_path / "0.log") if "error" in line] == [
        "error: stopped as asked (SIGTERM); the same command goes on where it was"
    ]
    assert lines(tmp_path / "1.log") == []

    first, second = pair("train", finished_run.settings, tmp_path, *arguments, port=free_port(port + 1))
    until = time.monotonic() + HANG
    while not any("resumed after epoch" in line for line in lines(tmp_path / "0.log")):
        assert time.monotonic() < until and first.poll() is None, (tmp_path / "0.log").read_text()
        time.sleep(0.1)
    first.kill()  # the coordinator, and what it supervises
    began = time.monotonic()
    assert second.wait(timeout=HANG) == EXIT_CODE, (tmp_path / "1.log").read_text()
    assert time.monotonic() - began < 60  # eight seconds, and a loaded machine
    (said,) = lines(tmp_path / "1.log")
    assert said.startswith("error: another process of this program was lost; what is saved is whole")


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (("--processes=2", "--process=0"), "--coordinator= --processes=2 --process=0: expected HOST:PORT"),
        (("--coordinator=h:1", "--processes=2", "--process=2"), "a number from 0 to one less"),
        (("--coordinator=h:1", "--processes=2", "--process=0", "--alone"), "--alone joins nothing"),
    ],
)
def test_flags_that_are_no_set_are_one_line(flags, what, tmp_path):
    from program import error_line, run

    assert what in error_line(run("launch.scan", f"--config.run={tmp_path}", *flags))
