"""What was chosen inside: the mean inner AUC by arm is that of what was chosen, and of no held-out fold."""

import json

import pytest

from mammojax.report.inside import chosen_inside
from mammojax.runs import stages
from mammojax.runs.stages import Damaged

TITLES = {"svm": "SVM", "bce": "Logistic", "other": "Other"}


def cell(folder, arm, fold, networks):
    def make(here):
        if networks:
            (here / "selection.json").write_text(json.dumps(networks))
        return {}

    made = stages.made(folder, f"{arm}{fold}", make, what="a cell", say=lambda line: None)
    return (arm, 0, fold, made)


def networks(name, chosen, aucs):
    return [{"chosen": {name: chosen}, "candidates": aucs}]


def test_the_inner_auc_of_what_was_chosen_is_averaged_by_arm(tmp_path):
    cells = [
        cell(tmp_path, "svm", 0, networks("C", 10, {"0.1": 0.9, "10.0": 0.6})),
        cell(tmp_path, "svm", 1, networks("C", 0.1, {"0.1": 0.7, "10.0": 0.5})),
        cell(tmp_path, "bce", 0, networks("epoch", 5, {"5": 0.55, "10": 0.8}) * 2),
        cell(tmp_path, "bce", 1, networks("epoch", 5, {"5": None, "10": 0.8})),  # an inner fold of one class
        cell(tmp_path, "other", 0, networks("epoch", 5, {"5": float("nan")})),
    ]
    found = chosen_inside(cells, TITLES)
    assert found.value["svm"]["inner_auc"] == pytest.approx((0.6 + 0.7) / 2)
    assert found.value["svm"]["sd"] == pytest.approx(0.05) and found.value["svm"]["chosen"] == ["C", 0.1, 10]
    assert found.value["bce"]["inner_auc"] == pytest.approx(0.55) and found.value["bce"]["networks"] == 2
    assert found.rows[2] == ("Other", "not defined", "epoch 5")
    assert found.rows[:2] == (
        ("SVM", "0.650, SD 0.050", "C 0.1 to 10"),
        ("Logistic", "0.550, SD 0.000", "epoch 5"),
    )


def test_cells_that_chose_nothing_have_no_such_table_and_damage_is_said(tmp_path):
    assert chosen_inside([cell(tmp_path, "other", 0, [])], TITLES) is None
    damaged = cell(tmp_path, "bce", 0, networks("epoch", 5, {"5": 0.55}))
    (damaged[3] / "selection.json").write_text("[]")
    with pytest.raises(Damaged, match="selection.json"):
        chosen_inside([damaged], TITLES)
