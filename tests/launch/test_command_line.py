"""The edge of the programs: help, and one clear line for whatever a user can get wrong."""

import os
import subprocess
import sys

import pytest
from program import ROOT, error_line, run

from launch.tables import names, tables


def python(program: str, *arguments: str):
    """Runs lines of Python with the checkout on the path."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=3600,
    )


@pytest.mark.parametrize("name", ["prepare", "scan", "train", "evaluate", "crossval", "predict", "plan"])
def test_help_says_what_a_launcher_does_with_an_example_and_waits_for_no_jax(name):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", f"launch.{name}", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == 0 and f"python -m launch.{name}" in done.stdout
    lines = done.stderr.splitlines()
    assert all(line.startswith("import time:") for line in lines), done.stderr
    assert not {"jax", "numpy", "tensorflow_datasets"} & {line.rpartition("|")[2].strip() for line in lines}
    commands = [
        line for line in done.stdout.splitlines() if line.startswith("  python -m ")
    ]  # to be copied whole
    assert commands and max(len(line) for line in done.stdout.splitlines() if line not in commands) <= 100
    if name in ("prepare", "scan", "train", "crossval"):
        for part in ("--config=FILE", "--config.model.np=15  (from 1 to 256)", "one of logistic, "):
            assert part in done.stdout


def test_the_names_that_help_reads_from_source_are_those_of_the_tables():
    from mammojax.experiment.crossval import tables as imported

    assert tables() == imported()
    with pytest.raises(LookupError):
        names(ROOT / "launch" / "tables.py", "ABSENT")


def test_a_warning_is_one_line_without_lines_of_code():
    done = python(LAUNCHER.format(body="import warnings; warnings.warn('RANDOM weights')"))
    assert done.returncode == 0 and done.stderr.splitlines() == ["warning: RANDOM weights"]


def test_a_tilde_behind_a_flag_is_the_home_folder(tmp_path, monkeypatch):
    from launch.command_line import _at_home

    monkeypatch.setenv("HOME", str(tmp_path))
    assert _at_home("--output=~/scores.csv") == f"--output={tmp_path}/scores.csv"
    assert _at_home("--config=~/own.py") == f"--config={tmp_path}/own.py"
    # a shell has seen to the first, the settings see to the second, the third is a name, the others hold none
    for other in ("~/film.dcm", "--config.run=~/run", "film=~.dcm", "--flag=a~b", "--flag", "--"):
        assert _at_home(other) == other


@pytest.mark.parametrize(
    "flags, says",
    [
        (
            ["--config.training.epoch=3"],
            "config.training.epoch is no field; did you mean config.training.epochs?",
        ),
        (
            ["--config.training.learning_rate=-1"],
            "config.training.learning_rate is -1.0; expected a number above 0",
        ),
        (["--config=configs/none.py"], "configs/none.py is absent"),
        (["--unknown=1"], "Unknown command line flag 'unknown'"),
        (["--config.crossval.arms=('auc','svm')"], "config.crossval.arms holds 'svm'; expected some of"),
        (["--config.data.name=ddsm"], "config.data.name is 'ddsm'; expected one of phantom, mias, inbreast"),
        (
            ["--config.model.backbone=resnet"],
            "config.model.backbone is 'resnet'; expected one of efficientnet_lite0",
        ),
        (["--config.loss.surrogate=cubic"], "config.loss.surrogate is 'cubic'; expected one of logistic"),
        (["training.epochs=3"], "unexpected argument"),
    ],
)
def test_what_flags_show_is_one_line_before_anything_is_made(tmp_path, flags, says):
    folder = tmp_path / "run"
    assert says in error_line(run("launch.prepare", f"--config.run={folder}", *flags, cwd=tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "flags, says",
    [
        (["--config=configs/mias.py"], "config.data.source is empty"),
        (
            ["--config=configs/mias.py", "--config.data.source=absent"],
            "absent is absent; give the folder or the archive",
        ),
        (["--config=configs/folder.py", "--config.data.source=absent"], "absent is not a folder"),
    ],
)
def test_what_only_the_data_show_is_one_line(tmp_path, flags, says):
    assert says in error_line(run("launch.prepare", f"--config.run={tmp_path / 'run'}", *flags))


def test_what_only_the_network_shows_is_one_line_before_anything_is_prepared(tmp_path):
    flags = [
        "--config.crossval.arms=auc_finetuned",
        "--config.finetune.epochs=1",
        "--config.finetune.frozen=19",
    ]
    done = run("launch.crossval", f"--config.run={tmp_path / 'run'}", *flags)
    assert "config.finetune.frozen is 19; efficientnet_lite0 has 18 layers" in error_line(done)
    assert not list(tmp_path.iterdir())


def test_arms_are_named_on_a_command_line_as_they_are_written_in_the_settings(tmp_path):
    """With all that is changed in them, commas too; and what one arm alone needs is no mistake where another is trained."""
    arms = "auc:training.epochs=4,loss.margin=1,cells_bce"
    own = ("--config=configs/mias.py", f"--config.run={tmp_path / 'run'}", f"--config.crossval.arms={arms}")
    absent = "auc:training.epochs=4,loss.margin=2"
    done = run("launch.crossval", *own, f"--arm={absent},cells_bce,cells_bce")
    assert f"no arm {absent} in config.crossval.arms; expected some of auc:training" in error_line(done)
    for program in ("crossval", "train"):
        chosen = "--arm=auc:training.epochs=4,loss.margin=1"
        done = run(f"launch.{program}", *own, "--config.model.mil.top=0.1", chosen)
        assert "config.data.source is empty" in error_line(done)  # what comes after all that flags show
    assert not (tmp_path / "run").exists()


def test_programs_without_a_run_say_which_flag_is_missing(tmp_path):
    assert "--run is empty" in error_line(run("launch.evaluate"))
    assert "--run is empty" in error_line(run("launch.predict", "x.dcm"))
    assert "holds no finished cross-validation" in error_line(run("launch.evaluate", f"--run={tmp_path}"))


@pytest.mark.parametrize("field", ["run", "data.prepared", "scan.representations"])
def test_a_folder_that_cannot_be_written_is_one_line_before_anything_is_made(tmp_path, field):
    (tmp_path / "file").write_text("in the way")
    source = f"--config.data.source={tmp_path / 'dicom'}"
    for place in ("file", "file/below"):
        target = tmp_path / place
        done = run("launch.prepare", f"--config.run={tmp_path / 'run'}", source, f"--config.{field}={target}")
        assert error_line(done).startswith(f"error: cannot write {target}: {tmp_path / 'file'} is a file")
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


def test_a_target_of_predictions_that_cannot_be_written_is_one_line_before_a_film_is_read(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for flag in (f"--output={tmp_path / 'file' / 'a.csv'}", f"--maps={tmp_path / 'file'}"):
        done = run("launch.predict", f"--run={tmp_path}", flag, "x.dcm")
        assert "cannot write" in error_line(done)


LAUNCHER = """
import errno, os, signal, sys, time
from launch import command_line
def main(settings, arguments):
    print(type(settings).__name__, settings.training.epochs, arguments)
    {body}
command_line.run(main, config="configs/default.py")
"""


def test_main_gets_checked_settings_and_the_other_arguments():
    done = python(
        LAUNCHER.format(body="pass"), "--config.training.epochs=2", "a", "--config.training.epochs=3"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Settings 3 ['a']\n", "")


def test_an_interrupt_ends_a_program_with_one_line_and_its_exit_code():
    done = python(LAUNCHER.format(body="os.kill(os.getpid(), signal.SIGINT); time.sleep(30)"))
    assert done.returncode == 130
    assert done.stderr == "error: interrupted; the same command goes on where it was\n"


def test_a_request_to_stop_ends_a_program_between_two_steps_with_a_code_of_its_own():
    steps = (
        "for k in command_line.track(range(3), total=3, description=''): print(k); os.kill(os.getpid(), 15)"
    )
    done = python(LAUNCHER.format(body=steps))
    assert done.returncode == 75 and done.stdout.split()[-1] == "0"
    assert done.stderr == "error: stopped as asked (SIGTERM); the same command goes on where it was\n"


@pytest.mark.parametrize(
    "error, line",
    [
        ("OSError(errno.ENOSPC, 'x', 'a/b.npy')", "a/b.npy: the disk is full; make room"),
        (
            "OSError(errno.EROFS, 'x', 'a/b.npy')",
            "a/b.npy: it cannot be written to (read-only); give another folder",
        ),
        ("PermissionError(errno.EACCES, 'x', 'a')", "a: permission denied"),
        ("RuntimeError('INTERNAL: write failed: No space left on device')", "the disk is full"),
        ("ValueError('x') from OSError(errno.EDQUOT, 'x', 'c')", "c: the quota is used up"),
    ],
)
def test_a_full_or_read_only_target_is_one_line(error, line):
    assert line in error_line(python(LAUNCHER.format(body=f"raise {error}")))


def test_an_error_of_our_own_keeps_its_traceback():
    done = python(LAUNCHER.format(body="raise FileNotFoundError(errno.ENOENT, 'No such file', 'x')"))
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_settings_that_the_core_names_are_printed_as_the_flags_that_are_typed():
    from launch.config_file import with_flags

    assert with_flags("one CSV expected; name it with data.folder.csv") == (
        "one CSV expected; name it with --config.data.folder.csv"
    )
    for plain in (
        "--config.data.folder.csv is empty",
        "see data/folder.csv",
        "numpy.load failed",
        "config.run is empty",
        "no arm 'bce'; its table has auc:training.epochs=1,loss.policy=fifo",
    ):
        assert with_flags(plain) == plain
