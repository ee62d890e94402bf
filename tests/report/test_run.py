"""The results of finished runs on real cells: where it looks, acquisition, and the other set's drift."""

import json
import shutil

import numpy as np
import pytest

from mammojax.experiment.external import external
from mammojax.report.run import evaluate


@pytest.fixture(scope="module")
def evaluated(own_run):
    said = []
    table, report = evaluate(own_run.directory, command="again", say=said.append)
    assert not said
    return own_run.directory, table, report.read_text(encoding="utf-8")


def test_a_run_says_where_it_looks_against_chance(evaluated):
    directory, table, report = evaluated
    found = json.loads((directory / "localisation.json").read_text())
    positive = json.loads((directory / "table.json").read_text())["arms"]["cells_bce"]["image"]["positives"]
    game = found["pointing_game"]
    assert game["films"] == positive and 0 < game["chance"]["value"] < 0.5
    assert found["free_response"]["films"] == 32 and found["free_response"]["lesions"] >= positive
    assert "Where it looks" in table and "Heat maps" in report
    assert (directory / "figures" / "heat_maps.png").read_bytes()[:4] == b"\x89PNG"


def test_acquisition_alone_stands_beside_the_arms(evaluated):
    directory, table, _ = evaluated
    arms = json.loads((directory / "table.json").read_text())["arms"]
    assert "acquisition" in arms and "Acquisition alone: size" in table
    assert arms["acquisition"]["image"]["samples"] == arms["cells_bce"]["image"]["samples"]


def test_without_its_films_a_run_still_has_its_table_and_says_what_is_left_out(evaluated, tmp_path):
    directory, _, _ = evaluated
    # without table.md the results are made again, and what only the films gave has no successor
    copy = shutil.copytree(
        directory, tmp_path / "copy", ignore=shutil.ignore_patterns("prepared", "table.md")
    )
    assert (copy / "localisation.json").exists()
    said = []
    evaluate(copy, command="again", say=said.append)
    assert len(said) == 1 and "acquisition and maps are left out" in said[0]
    first, second = (json.loads((d / "table.json").read_text()) for d in (directory, copy))
    assert (
        second["arms"]["cells_bce"] == first["arms"]["cells_bce"]
        and not (copy / "localisation.json").exists()
        and not (copy / "figures" / "heat_maps.png").exists()
    )


def test_a_later_start_in_the_same_folder_does_not_lend_its_settings_to_these_cells(evaluated, tmp_path):
    """A crossval of other labels and folds was begun there and killed: config.json and accounts.csv are its own."""
    directory, table, _ = evaluated
    copy = shutil.copytree(directory, tmp_path / "copy", ignore=shutil.ignore_patterns("table.md"))
    config = json.loads((copy / "config.json").read_text())
    config["seed"] += 1
    config["crossval"]["folds"], config["data"]["labels"] = 9, "abnormal"
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "accounts.csv").write_text((copy / "accounts.csv").read_text().splitlines()[0] + "\n")
    again, report = evaluate(copy, command="again")
    assert again == table
    assert "9-fold" not in report.read_text(encoding="utf-8")
    assert "0 found" not in report.read_text(encoding="utf-8")


def test_another_set_gets_the_same_table_with_the_drift_of_the_calibration(own_run, few_films):
    directory = external(own_run.directory, few_films(1, patients=4), say=lambda line: None)
    table, report = evaluate(directory, command="again")
    value = json.loads((directory / "table.json").read_text())
    assert set(value["arms"]) == {"resize224_svm", "exam_bce", "cells_bce"}
    for levels in value["arms"].values():
        assert set(levels) == {"image", "breast", "patient"}
        assert levels["image"]["mean"] == levels["image"]["pooled"] and levels["image"]["samples"] == 16
    drift = value["findings"]["Calibration drift"]
    for arm, of in drift.items():
        assert of["observed"]["value"] == pytest.approx(value["arms"][arm]["image"]["positives"] / 16)
        assert of["excess"]["value"] == pytest.approx(of["predicted"]["value"] - of["observed"]["value"])
    assert "There are no folds" in table and "inside each fold" not in table
    assert "Calibration drift" in table and "No network was trained" in report.read_text(encoding="utf-8")
    assert np.isfinite(
        json.loads((directory / "localisation.json").read_text())["pointing_game"]["rate"]["value"]
    )
