"""Run directories: files whole or not at all, stages by key, nothing mixed and nothing lost."""

import json
import os

import pytest

from mammojax.errors import UserError
from mammojax.runs import stages
from mammojax.runs.environment import record_settings
from mammojax.runs.files import read_json, write_json, writing


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "table.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), writing(path, "w") as file:
        file.write("half")
        raise RuntimeError
    assert read_json(path) == {"a": 1} and os.listdir(tmp_path) == ["table.json"]


def test_a_folder_that_cannot_be_written_is_a_one_line_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        write_json(tmp_path / "file" / "x.json", {})


def test_the_key_depends_on_values_and_not_on_order():
    assert stages.key(a=1, b=[2, 3]) == stages.key(b=[2, 3], a=1)
    assert stages.key(a=1, b=[2, 3]) != stages.key(a=1, b=[3, 2])


def test_an_unfinished_stage_of_the_same_key_is_kept_and_one_of_another_key_moved_aside(tmp_path):
    folder = tmp_path / "fold_0"
    assert stages.claim(folder, "first") is None
    (folder / "half").write_text("done")
    assert stages.claim(folder, "first") is None and (folder / "half").exists()
    assert not stages.is_finished(folder, "first")
    stages.finish(folder, "first")
    assert stages.is_finished(folder, "first") and not stages.is_finished(folder, "second")
    assert stages.claim(folder, "second") == "fold_0.was-first"
    assert (tmp_path / "fold_0.was-first/half").read_text() == "done" and not (folder / "half").exists()


def test_changed_settings_keep_the_old_ones(tmp_path):
    record_settings(tmp_path, {"epochs": 1, "arms": ("a", "b")})
    record_settings(tmp_path, {"epochs": 1, "arms": ("a", "b")})
    record_settings(tmp_path, {"epochs": 2, "arms": ("a", "b")})
    old = list(tmp_path.glob("config.was-*.json"))
    assert len(old) == 1 and json.loads(old[0].read_text())["epochs"] == 1
    assert read_json(tmp_path / "config.json")["epochs"] == 2


def test_broken_json_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON.*remove it"):
        read_json(tmp_path / "x.json")
    with pytest.raises(UserError, match="absent"):
        read_json(tmp_path / "y.json")
