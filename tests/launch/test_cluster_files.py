"""The ready files for clusters: they parse, they requeue on the program's own exit code, they pass on what they are given.

srun, scontrol, gcloud and python are stand-ins that write down how they were called: no scheduler is at hand.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
from program import ROOT

from mammojax.runs.stopping import EXIT_CODE, GRACE

SCRIPTS = ("slurm/train.sbatch", "slurm/array.sbatch", "tpu/run.sh", "local.sh")


@pytest.fixture
def calls(tmp_path):
    """calls(script, *arguments, **codes) -> (the ended script, lines of what it called): codes by the program called.
    allowed: the cores that it may use."""

    def stand_in(name, code, before=""):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        said = f'echo "{name} $CUDA_VISIBLE_DEVICES:$XLA_CLIENT_MEM_FRACTION $*" >>{tmp_path}/called'
        path.write_text(f"#!/bin/sh\n{before}\n{said}\n{code}\n")
        path.chmod(0o755)

    def run(script, *arguments, environment=None, allowed="0", **codes):
        for name in ("srun", "scontrol", "gcloud", "python"):
            stand_in(name, f"exit {codes.get(name, 0)}")
        cores = f"""[ "$1" = -cp ] && echo "pid $2's current affinity list: {allowed}" && exit"""
        stand_in("taskset", 'shift 2; exec "$@"', cores)
        own = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "LOGS": str(tmp_path), "GPUS": "0"}
        inherited = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        done = subprocess.run(
            ["bash", ROOT / "launch" / script, *arguments],
            env={**inherited, **own, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=600,
        )
        called = tmp_path / "called"
        return done, called.read_text().splitlines() if called.is_file() else []

    return run


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_sound(script):
    assert subprocess.run(["bash", "-n", ROOT / "launch" / script]).returncode == 0
    if shutil.which("shellcheck"):
        found = subprocess.run(["shellcheck", ROOT / "launch" / script], capture_output=True, text=True)
        assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("code, requeued", [(0, False), (2, False), (EXIT_CODE, True), (137, False)])
@pytest.mark.parametrize("script, first", [("slurm/train.sbatch", ["crossval"]), ("slurm/array.sbatch", [])])
def test_a_slurm_job_is_requeued_when_it_was_asked_to_stop_and_only_then(
    calls, script, first, code, requeued
):
    job = {"SLURM_JOB_ID": "17", "SLURM_CPUS_PER_TASK": "8"}
    done, called = calls(script, *first, "--config=a b.py", srun=code, environment=job)
    assert done.returncode == code
    # srun does not inherit the cores a task of sbatch, from Slurm 22.05 on
    assert called[0] == "srun : --cpus-per-task=8 python -m launch.crossval --config=a b.py"
    assert called[1:] == (["scontrol : requeue 17"] if requeued else [])


@pytest.mark.parametrize("script", SCRIPTS[:2])
def test_slurm_asks_to_stop_long_enough_before_it_kills(script):
    lines = (ROOT / "launch" / script).read_text().splitlines()
    options = dict(
        line.removeprefix("#SBATCH --").partition("=")[::2] for line in lines if line.startswith("#SBATCH")
    )
    assert "requeue" in options and options["open-mode"] == "append"  # a requeued job keeps its log
    name, _, seconds = options["signal"].partition("@")
    assert name == "TERM" and int(seconds) > GRACE


@pytest.mark.parametrize("name, launcher", [("job", "crossval"), ("train", "train")])
def test_a_kubernetes_job_goes_on_after_a_stop_and_fails_on_a_wrong_flag(name, launcher):
    yaml = pytest.importorskip("yaml")
    *services, job = yaml.safe_load_all((ROOT / f"launch/kubernetes/{name}.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
    (container,) = pod["containers"]
    actions = {
        code: rule["action"]
        for rule in spec["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule and rule["onExitCodes"]["containerName"] == container["name"]
        for code in rule["onExitCodes"]["values"]
    }
    assert actions == {EXIT_CODE: "Ignore", 2: "FailJob"}
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy needs it
    assert pod["terminationGracePeriodSeconds"] > GRACE
    assert container["command"] == ["python", "-m", f"launch.{launcher}"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
    from launch.config_file import split_flags

    file, values, rest = split_flags(container["args"])
    assert (ROOT / file).is_file() and values["run"].startswith(mounts["shared"])
    if name == "job":  # pods that share by lock
        assert rest == ["--alone"] and not services
        return
    (service,) = services
    flags = dict(flag.removeprefix("--").split("=") for flag in rest if not flag.startswith("--arm"))
    first, port = flags["coordinator"].split(":")
    # the name that Kubernetes gives the first pod of a job with a headless service
    assert first == f"{job['metadata']['name']}-0.{service['metadata']['name']}" and int(port)
    assert service["spec"]["clusterIP"] == "None" and pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert int(flags["processes"]) == spec["completions"]
    (index,) = container["env"]
    assert flags["process"] == f"$({index['name']})"
    assert "job-completion-index" in index["valueFrom"]["fieldRef"]["fieldPath"]


def test_every_host_of_a_tpu_gets_the_command_with_its_quotes(calls):
    arguments = ("v5e-16", "crossval", "--config.crossval.arms='bce','auc'")
    done, called = calls("tpu/run.sh", *arguments, environment={"ZONE": "here"})
    assert done.returncode == 0, done.stderr
    assert called[0].startswith("gcloud : compute tpus tpu-vm ssh v5e-16 --zone=here --worker=all --command=")
    remote = called[0].partition("--command=")[2]
    program = remote.partition("python -m ")[2].partition(";")[0]
    assert shlex.split(program) == ["launch.crossval", "--alone", arguments[2]]
    assert "TPU_PROCESS_BOUNDS=1,1,1" in remote
    done, _ = calls("tpu/run.sh", *arguments, environment={"ZONE": ""})
    assert done.returncode != 0 and "the zone, such as" in done.stderr


def test_hosts_of_a_tpu_that_are_one_program_are_told_nothing_of_their_own(calls):
    done, called = calls(
        "tpu/run.sh", "v5e-16", "train", "--arm=auc", environment={"ZONE": "here", "TOGETHER": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert "do python -m launch.train --arm=auc;" in called[0] and "BOUNDS" not in called[0]


@pytest.mark.parametrize(
    "environment, gpus",  # behind the colon the share of its memory that JAX may take: 0.75 where nothing is said
    [
        ({"GPUS": "3"}, ["0:", "1:", "2:"]),
        ({"GPUS": "2"}, ["0:0.450", "0:0.450", "1:0.450"]),
        # a scheduler's, or of a machine that others use
        ({"CUDA_VISIBLE_DEVICES": "5,6,GPU-8a"}, ["5:", "6:", "GPU-8a:"]),
        ({"CUDA_VISIBLE_DEVICES": "", "GPUS": "2"}, [":"] * 3),
        ({"GPUS": "1", "XLA_PYTHON_CLIENT_MEM_FRACTION": ".2"}, ["0:"] * 3),
        ({}, [":"] * 3),
    ],
)
def test_processes_of_one_machine_get_a_gpu_each_in_turn_of_those_that_are_theirs(calls, environment, gpus):
    done, called = calls("local.sh", "3", "scan", "--config.seed=1", environment=environment)
    assert done.returncode == 0, done.stderr
    programs = sorted(line for line in called if line.startswith("python"))
    assert programs == [f"python {gpu} -m launch.scan --config.seed=1" for gpu in gpus]


@pytest.mark.parametrize("allowed", ["3,8-11,20", "7"])
def test_processes_of_one_machine_share_the_cores_that_the_job_may_use(calls, tmp_path, allowed):
    done, called = calls("local.sh", "2", "scan", allowed=allowed)
    assert done.returncode == 0, done.stderr
    shares = sorted(line.partition(": -c ")[2].split()[0] for line in called if line.startswith("taskset"))
    assert shares == {"3,8-11,20": ["10,11,20", "3,8,9"], "7": ["7", "7"]}[allowed]


@pytest.mark.parametrize("code", [3, EXIT_CODE])
def test_processes_of_one_machine_end_with_the_code_of_one_that_failed(calls, code):
    done, _ = calls("local.sh", "2", "scan", python=code)
    assert done.returncode == code and "process 1 ended with code" in done.stderr


def test_a_wrong_number_of_processes_is_one_line(calls):
    done, called = calls("local.sh", "none", "scan")
    assert done.returncode == 2 and done.stderr == "error: none processes; expected a number from 1\n"
    assert not called


LOOP = """#!{python}
import os, sys, time
sys.path.insert(0, {root!r})
from mammojax.runs import stopping
stopping.listen(say=print)
open({folder!r} + "/up." + str(os.getpid()), "w").close()
while not stopping.requested():
    time.sleep(0.01)
time.sleep(0.5)  # a checkpoint
sys.exit(stopping.EXIT_CODE)
"""


@pytest.mark.parametrize("signalled", ["the script", "all of its group"])
def test_a_request_to_stop_reaches_every_process_of_one_machine(tmp_path, signalled):
    """Slurm, systemd and `timeout` signal the whole group: what the script passes on is then the second signal."""
    program = tmp_path / "python"
    program.write_text(LOOP.format(python=sys.executable, root=str(ROOT), folder=str(tmp_path)))
    program.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(program), "LOGS": str(tmp_path), "GPUS": "0"}
    script = subprocess.Popen(["bash", ROOT / "launch/local.sh", "2", "scan"], env=environment,
                              stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    until = time.monotonic() + 600
    while len(list(tmp_path.glob("up.*"))) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    (os.kill if signalled == "the script" else os.killpg)(script.pid, signal.SIGTERM)
    assert script.wait(timeout=600) == 75
