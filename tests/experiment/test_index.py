"""The index of a table: which cells it is made of, and what is said when one of them is not there."""

import pytest

from mammojax.errors import UserError
from mammojax.experiment.table import INDEX, Entry, Table, read_table, write_table
from mammojax.runs import stages


def cell(directory, name):
    def make(folder):
        (folder / "predictions.csv").write_text(name)
        return {"arm": name}

    return stages.made(
        directory / "cells", stages.key(name=name), make, what=name, say=lambda text: None
    ).name


@pytest.fixture
def table(tmp_path):
    arms = {arm: [Entry(0, fold, cell(tmp_path, f"{arm} {fold}")) for fold in range(2)] for arm in ("b", "a")}
    made = Table(tmp_path, arms, {"b": "B", "a": "A"}, {"b": "#000", "a": "#fff"}, "a", {"seed": 0})
    write_table(made)
    return made


def test_what_is_written_is_read_in_the_same_order(table, tmp_path):
    found = read_table(tmp_path)
    assert list(found.arms) == ["b", "a"]
    assert vars(found) == vars(table)
    texts = [(folder / "predictions.csv").read_text() for folder in found.folders("a")]
    assert texts == ["a 0", "a 1"]


def test_an_arm_that_is_not_in_the_table_is_said_with_those_that_are(table):
    with pytest.raises(UserError, match="has no arm 'auc'; its table has b, a"):
        table.folders("auc")


def test_a_cell_that_is_not_there_is_named(table, tmp_path):
    (table.folders("a")[1] / "stage.json").unlink()
    with pytest.raises(UserError, match=f"1 of 2 cells of a are not finished .{table.arms['a'][1].key}"):
        read_table(tmp_path)


def test_a_folder_without_a_table_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match="holds no finished cross-validation; run launch.crossval"):
        read_table(tmp_path)


@pytest.mark.parametrize("text", ["{", "{}", '{"arms": 3}', '{"arms": [["a", [{"fold": 1}]]]}'])
def test_a_damaged_index_is_one_line(table, tmp_path, text):
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(UserError) as error:
        read_table(tmp_path)
    assert INDEX in str(error.value) and "\n" not in str(error.value)
