"""From cells on disk to the table: what is refused, and what must not appear in what people pass on."""

import csv
import json

import numpy as np
import pytest
from studies import study

from mammojax.datasets.accounts import Account, read_accounts, write_accounts
from mammojax.errors import UserError
from mammojax.evaluation.localisation import Film
from mammojax.experiment.predictions import COLUMNS
from mammojax.report.collect import collect, training_curves
from mammojax.report.findings import Acquisition
from mammojax.report.html import Picture
from mammojax.report.results import write_results
from mammojax.runs import stages

TITLES, COLOURS = {"bce": "Logistic loss", "auc": "AUC loss"}, {"bce": "#0072b2", "auc": "#d55e00"}
RECIPE = {"objective": "logistic", "training": {"epochs": 40, "learning_rate": 0.01}, "surrogate": "logistic"}


def cells(folder, *, repeats=2, recipes=None, change=lambda arm, row: row):
    """Finished cells of two arms on five folds; recipes: (arm, repeat, fold) -> recipe where it is not RECIPE."""
    made = []
    for arm, shift in (("bce", 0.5), ("auc", 1.0)):
        p = study(np.random.default_rng(0), repeats=repeats, shift=shift)
        for repeat in range(repeats):
            for fold in range(5):
                recipe = (recipes or {}).get((arm, repeat, fold), RECIPE)

                def make(here, arm=arm, repeat=repeat, fold=fold, recipe=recipe, p=p):
                    with (here / "predictions.csv").open("w", newline="") as file:
                        writer = csv.DictWriter(file, COLUMNS)
                        writer.writeheader()
                        for k in np.flatnonzero((p.repeats == repeat) & (p.folds == fold)):
                            row = {
                                "record": p.records[k] + 1,
                                "file": f"Jane_Doe_{p.records[k]}.dcm",
                                "patient": p.patients[k] + 1,
                                "breast": p.breasts[k] + 1,
                                "repeat": repeat,
                                "fold": fold,
                                "label": p.labels[k],
                                "score": repr(float(p.scores[k])),
                                "log_odds": repr(float(p.calibrated[k])),
                            }
                            writer.writerow(change(arm, row))
                    if arm == "auc":
                        lines = [
                            {"epoch": e, "step": 7 * e, "held_out_auc": 0.5 + e / 10} for e in range(1, 4)
                        ]
                        (here / "metrics.jsonl").write_text(
                            "".join(json.dumps(line) + "\n" for line in lines)
                        )
                    return {"recipe": recipe, "made_from": {"prepared": "0123"}, "chosen": [{"epoch": 2}]}

                key = stages.key(arm=arm, repeat=repeat, fold=fold, recipe=recipe)
                where = stages.made(folder / "cells", key, make, what="a cell", say=lambda line: None)
                made.append((arm, repeat, fold, where))
    return made


def test_the_predictions_are_those_of_the_cells_whatever_their_order(tmp_path):
    made = cells(tmp_path)
    found = collect(made, path=tmp_path / "predictions.csv")
    expected = study(np.random.default_rng(0), repeats=2, shift=1.0)
    for name in ("patients", "breasts", "folds", "labels", "calibrated", "repeats"):
        assert np.array_equal(getattr(found["auc"], name), getattr(expected, name)), name
    again = collect(
        [made[k] for k in np.random.default_rng(1).permutation(len(made))], path=tmp_path / "b.csv"
    )
    assert all(np.array_equal(getattr(found["bce"], n), getattr(again["bce"], n)) for n in vars(found["bce"]))


def test_a_mix_of_recipes_is_refused_naming_the_fields(tmp_path):
    other = {"objective": "logistic", "training": {"epochs": 40, "learning_rate": 0.1}, "margin": 1.0}
    made = cells(tmp_path, recipes={("bce", 1, 3): other})
    with pytest.raises(UserError) as error:
        collect(made, path=tmp_path / "p.csv")
    message = str(error.value)
    assert "bce repeat 1 fold 3" in message and "\n" not in message
    assert "training.learning_rate (0.01 and 0.1)" in message and "margin ('absent' and 1.0)" in message
    assert "surrogate ('logistic' and 'absent')" in message and "epochs" not in message


def test_arms_may_differ_in_their_recipe(tmp_path):
    other = {**RECIPE, "objective": "auc"}
    made = cells(tmp_path, recipes={("auc", r, k): other for r in range(2) for k in range(5)})
    assert set(collect(made, path=tmp_path / "p.csv")) == {"bce", "auc"}


def test_cells_that_are_missing_unfinished_or_given_twice_are_named(tmp_path):
    made = cells(tmp_path, repeats=1)
    with pytest.raises(UserError, match="1 of 10 cells are not finished.*auc repeat 0 fold 2"):
        collect([cell for cell in made if cell[:3] != ("auc", 0, 2)], path=tmp_path / "p.csv")
    with pytest.raises(UserError, match="more than once"):
        collect([*made, made[0]], path=tmp_path / "p.csv")
    (made[4][3] / stages.STAGE_FILE).unlink()
    with pytest.raises(UserError, match="not finished.*bce repeat 0 fold 4"):
        collect(made, path=tmp_path / "p.csv")
    with pytest.raises(UserError, match="no cells"):
        collect([], path=tmp_path / "p.csv")


def test_arms_of_other_labels_are_refused(tmp_path):
    made = cells(
        tmp_path, repeats=1, change=lambda arm, row: row | {"label": int(arm == "auc") ^ row["label"]}
    )
    with pytest.raises(UserError, match="bce and auc hold different labels"):
        collect(made, path=tmp_path / "p.csv")


def test_a_damaged_file_of_predictions_is_named(tmp_path):
    made = cells(tmp_path, repeats=1)
    path = made[3][3] / "predictions.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match="predictions.csv is damaged"):
        collect(made, path=tmp_path / "p.csv")


def test_the_curve_of_a_cell_carries_the_step_of_the_chosen_epoch(tmp_path):
    curves, selected = training_curves(cells(tmp_path))
    assert set(curves) == {"auc"} and len(curves["auc"]) == 10
    assert curves["auc"][1, 4] == ([7, 14, 21], [0.6, 0.7, 0.8]) and selected["auc"][1, 4] == 14


def lucky_film(rng, k):
    """A film of 6 x 6 cells whose highest lies in its circle."""
    scores = rng.normal(size=(6, 6))
    scores[2, 3] = 9
    centres = np.stack(np.meshgrid(np.arange(6), np.arange(6), indexing="ij"), -1) * 32 + 15.5
    return Film(k, k, scores, np.ones((6, 6), bool), centres, np.array([[79.5, 111.5, 10]]), 16)


def test_a_run_leaves_table_figures_and_a_report_that_name_no_file(tmp_path):
    write_accounts(
        tmp_path,
        [Account(1, "Jane_Doe_0.dcm", "used"), Account(2, "Jane_Doe_9.dcm", "rejected", "no pixels")],
    )
    rng = np.random.default_rng(0)
    extra = Picture("Where it looks", "A panel.", b"\x89PNG and so on")
    options = {
        "titles": TITLES,
        "colours": COLOURS,
        "proposed": "auc",
        "seed": 0,
        "resamples": 20,
        "title": "A run",
        "command": "again",
        "facts": {"Data set": "made up"},
        "config": {"seed": 0},
        "ledger": read_accounts(tmp_path),
        "pictures": [extra],
        "acquisition": Acquisition(("spacing",), rng.normal(size=(192, 1)), ["A", "B"] * 96),
        "films": [lucky_film(rng, k) for k in range(20)],
    }
    text, path = write_results(tmp_path, cells(tmp_path), **options)
    assert path == tmp_path / "report.html" and text == (tmp_path / "table.md").read_text()
    names = {"auc", "roc", "scores", "reliability", "training_curves", "free_response"}
    assert {p.name for p in (tmp_path / "figures").iterdir()} == {
        f"{n}.{s}" for n in names for s in ("png", "svg")
    }
    table = json.loads((tmp_path / "table.json").read_text())
    assert table["proposed"] == "auc" and set(table["arms"]) == {"bce", "auc", "acquisition"}
    assert table["findings"]["Where it looks"]["pointing_game"]["hits"] == 20
    assert table["findings"]["Within groups of acquisition"]["auc"]["groups"]["B"]["images"] == 96
    for shown in (text, path.read_text()):
        assert "20 of 20" in shown and "Acquisition alone: spacing" in shown and "96 images" in shown
    assert "Where it looks" in path.read_text()
    with (tmp_path / "predictions.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * 2 * 192
    passed_on = [
        p
        for p in tmp_path.rglob("*")
        if p.suffix in (".md", ".json", ".html", ".svg") and p.name != "stage.json"
    ]
    assert len(passed_on) >= 8 and not [p for p in passed_on if "Jane" in p.read_text(errors="replace")]


def test_a_proposed_arm_that_is_not_in_the_table_is_refused(tmp_path):
    made = cells(tmp_path, repeats=1)
    with pytest.raises(UserError, match="proposed arm is 'own', expected one of bce, auc"):
        write_results(tmp_path, made, titles=TITLES, colours=COLOURS, proposed="own", seed=0, resamples=5, title="",
                      command="", facts={}, config={}, ledger=[])  # fmt: skip
