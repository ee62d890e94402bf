"""The edge of the programs: help, and one clear line for whatever a user can get wrong."""

import time

import pytest
from program import error_line, run


@pytest.mark.parametrize("name", ["prepare", "scan", "train", "evaluate", "crossval", "predict"])
def test_help_says_what_a_launcher_does_with_an_example_in_under_five_seconds(name):
    start = time.monotonic()
    done = run(f"launch.{name}", "--help")
    assert time.monotonic() - start < 5
    assert done.returncode == 0 and f"python -m launch.{name}" in done.stdout and not done.stderr
    if name not in ("evaluate", "predict"):
        assert "--config.training.epochs=" in done.stdout


@pytest.mark.parametrize(
    "flags, says",
    [
        (
            ["--config.training.epoch=3"],
            "unknown field --config.training.epoch; did you mean training.epochs?",
        ),
        (["--config.nonsense=3"], "unknown field --config.nonsense"),
        (["--config.training.epochs=many"], "many"),
        (["--config.crossval.arms=(1,2)"], "expected a tuple of str"),
        (["--config=configs/none.py"], "configs/none.py"),
        (["--unknown=1"], "Unknown command line flag 'unknown'"),
        (["training.epochs=3"], "unexpected argument"),
        (["--config.training.epochs=0"], "config.training.epochs is 0"),
        (["--config=configs/mias.py"], "config.data.source is empty"),
        (["--config=configs/mias.py", "--config.data.source=absent"], "absent is not mini-MIAS"),
        (
            ["--config=configs/mias.py", "--config.data.source=tests"],
            "tests is not mini-MIAS: Info.txt is absent",
        ),
        (["--config=configs/folder.py", "--config.data.source=absent"], "absent is not a folder"),
        (["--config.crossval.arms=('auc','svm')"], "unknown arm 'svm'"),
        (["--config.data.name=ddsm"], "unknown data set 'ddsm'; known are phantom, mias, folder"),
        (["--config.model.backbone=resnet"], "unknown backbone 'resnet'"),
        (["--config.training.schedule=step"], "training.schedule is 'step'"),
        (["--config.loss.pairs=some"], "loss.pairs is 'some'"),
        (["--config.loss.surrogate=cubic"], "cubic"),
        (
            ["--config.model.precision=float16"],
            "config.model.precision is 'float16'; expected one of float32, bfloat16",
        ),
        (["--config.scan.cache=int8"], "config.scan.cache is 'int8'"),
        (["--config.finetune.frozen=19"], "config.finetune.frozen is 19; efficientnet_lite0 has 18 layers"),
        (["--config.finetune.microbatches=-1"], "config.finetune.microbatches is -1"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_not_exit_code_0(tmp_path, flags, says):
    assert says in error_line(run("launch.crossval", f"--config.run={tmp_path / 'run'}", *flags))


def test_programs_without_a_run_say_which_flag_is_missing(tmp_path):
    assert "--run is empty" in error_line(run("launch.evaluate"))
    assert "--run is empty" in error_line(run("launch.predict", "x.dcm"))
    assert "config.json is absent" in error_line(run("launch.evaluate", f"--run={tmp_path}"))


def test_a_run_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "cannot write" in error_line(run("launch.prepare", f"--config.run={tmp_path / 'file'}"))
