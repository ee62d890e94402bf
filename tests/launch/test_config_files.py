"""Config files and typed flags: the last of several counts, wrong ones are one line with their place."""

import pytest
from program import ROOT, error_line, run

from launch.config_file import read_settings, split_flags
from mammojax.errors import UserError
from mammojax.settings import from_mapping, to_mapping


@pytest.mark.parametrize(
    "typed, file, values, rest",
    [
        (["--config=a.py", "x.dcm"], "a.py", {}, ["x.dcm"]),
        (["--config=a.py", "--config=b.py:c=d"], "b.py:c=d", {}, []),
        (["--config", "a.py", "--fold=1"], "a.py", {}, ["--fold=1"]),
        (["--config.seed=1", "--config=a.py", "--config.seed=2"], "a.py", {"seed": "2"}, []),
        (["-config.training.clip", "-1"], None, {"training.clip": "-1"}, []),
        (["--config.data.strict", "x"], None, {"data.strict": "true"}, ["x"]),
        (
            ["--config.data.source=a=b", "--config.data.labels="],
            None,
            {"data.source": "a=b", "data.labels": ""},
            [],
        ),
        (["--", "--config.seed=1"], None, {}, ["--", "--config.seed=1"]),
        (["--configuration=1", "--config.=1"], None, {}, ["--configuration=1", "--config.=1"]),
        (
            ["--config.crossval.arms=('bce','auc')", "--config.crossval.arms=('auc',)"],
            None,
            {"crossval.arms": "('auc',)"},
            [],
        ),
    ],
)
def test_flags_are_told_from_arguments_and_the_last_of_several_counts(typed, file, values, rest):
    assert split_flags(typed) == (file, values, rest)


def test_the_settings_of_another_set_are_named_by_a_flag_of_their_own():
    typed = ["--run=a", "--on=configs/mias.py", "--config.data.source=b"]
    assert split_flags(typed, "on") == ("configs/mias.py", {"data.source": "b"}, ["--run=a"])
    done = run("launch.evaluate", "--run=a", "--config.data.source=b")
    assert "config.data.source is a setting of --on=FILE; give both" in error_line(done)


@pytest.mark.parametrize("typed", [["--config"], ["--config.seed"], ["--config.seed", "--config=a.py"]])
def test_a_flag_without_its_value_is_told(typed):
    with pytest.raises(UserError, match=f"{typed[0]} has no value; give {typed[0]}=VALUE"):
        split_flags(typed)


@pytest.mark.parametrize(
    "name", ["default", "phantom", "mias", "folder", "inbreast", "cbis_ddsm", "vindr_mammo", "cmmd", "rsna"]
)
def test_every_config_is_read_from_any_directory_and_opens_with_its_command(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = f"configs/{name}.py"
    settings = read_settings(file, {"training.epochs": "40"})
    assert settings.training.epochs == 40 and settings == from_mapping(to_mapping(settings))
    assert f"python -m launch.crossval --config={file}" in (ROOT / file).read_text().split('"""')[1]


def test_a_config_in_the_working_directory_comes_before_that_of_the_checkout(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mias.py").write_text(
        "def get_config():\n    return {'training': {'epochs': 7}}\n"
    )
    monkeypatch.chdir(tmp_path)
    assert read_settings("configs/mias.py", {}).training.epochs == 7
    assert read_settings(f"{ROOT}/configs/mias.py", {}).data.name == "mias"


BEGINNING = "from configs import default\ndef get_config():\n    config = default.get_config()\n"


@pytest.mark.parametrize(
    "text, line",
    [
        (
            BEGINNING + "    config.training.epoch = 3\n    return config",
            "did you mean config.training.epochs?",
        ),
        (BEGINNING + "    config.trainig.epochs = 3\n    return config", "line 4: AttributeError"),
        (
            BEGINNING + "    config.training.epochs = '3'\n    return config",
            "config.training.epochs is '3'; expected a whole",
        ),
        (
            BEGINNING + "    config.arms = {'mine': {'loss': {}}}\n    return config",
            "config.arms.mine has no base",
        ),
        (BEGINNING, "get_config() gives NoneType; expected the config"),
        ("def get_config():\n    return 1 / 0", "line 2: ZeroDivisionError: division by zero"),
        ("raise SystemExit('enough')", "line 1: SystemExit: enough"),
        ("import absent_module", "line 1: ModuleNotFoundError: No module named 'absent_module'"),
        ("def get_config(:", "SyntaxError: "),
        ("x = '\0'", "null bytes"),
        ("config = 3", "it has no get_config(); see configs/default.py"),
        ("def get_config(path):\n    return {}", "give it an argument: --config="),
    ],
)
def test_a_config_file_that_is_wrong_is_one_line_with_its_place(text, line, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        read_settings(str(file), {})
    assert f"--config={file}: " in str(error.value) and line in str(error.value)


@pytest.mark.parametrize(
    "name, line",
    [
        ("configs/none.py", "configs/none.py is absent; give a file such as those of configs/ ("),
        ("configs", "configs is a folder; give a file"),
        ("", "it is absent; give a file"),
        ("README.md", "expected a Python file with get_config()"),
        ("configs/mias.py:x", "it takes no argument"),
        ("configs/rerun.py", "give it an argument: --config=configs/rerun.py:ARGUMENT"),
        (
            "configs/rerun.py:absent.json",
            "absent.json cannot be read (No such file or directory); give the config.json",
        ),
        ("configs/rerun.py:README.md", "README.md is no JSON"),
    ],
)
def test_a_config_that_cannot_be_read_is_one_line_with_the_remedy(name, line, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError) as error:
        read_settings(name, {})
    assert line in str(error.value) and "\n" not in str(error.value)


def test_a_run_is_repeated_from_its_config_json_and_from_that_of_no_other_version(tmp_path):
    import json

    file = tmp_path / "config.json"
    typed = {"crossval.arms": "bce,auc:loss.surrogate=hinge", "model.paper.filters": "8,8", "seed": "5"}
    first = read_settings("configs/phantom.py", typed)
    saved = to_mapping(first)
    file.write_text(json.dumps(saved))
    assert read_settings(f"configs/rerun.py:{file}", {}) == first
    with pytest.raises(UserError, match="settings of a run are read with --config=configs/rerun.py:"):
        read_settings(str(file), {})
    for change, line in [
        (
            lambda tree: tree["training"].pop("decay"),
            "lacks training.decay; it is no config.json of this version",
        ),
        (lambda tree: tree["training"].update(gone=1), "config.training.gone is no field"),
        (
            lambda tree: tree["training"].update(epochs=0),
            "config.training.epochs is 0; expected a whole number",
        ),
        (
            lambda tree: tree.update(training=3),
            "lacks training.average, training.batch, training.checkpoint_every and others",
        ),
    ]:
        tree = json.loads(json.dumps(saved))
        change(tree)
        file.write_text(json.dumps(tree))
        with pytest.raises(UserError) as error:
            read_settings(f"configs/rerun.py:{file}", {})
        assert line in str(error.value)
    file.write_text("[]")
    with pytest.raises(UserError, match="it is no config.json"):
        read_settings(f"configs/rerun.py:{file}", {})
