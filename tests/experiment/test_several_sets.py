"""Two sets trained together: folds and units within each, nothing shared between them, results a set, one to be like."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mammojax.datasets.joined import _moved, joined
from mammojax.errors import UserError
from mammojax.experiment import crossval
from mammojax.experiment.cells import Experiment
from mammojax.experiment.crossval import checked
from mammojax.experiment.external import external
from mammojax.experiment.held_out import prepared_of
from mammojax.experiment.inputs import prepared
from mammojax.experiment.model import UNITS, Model
from mammojax.experiment.predictions import read_predictions
from mammojax.experiment.table import read_table
from mammojax.report.run import evaluate
from mammojax.settings import defaults, from_mapping, further_sets, with_overrides
from mammojax.training.saved import read_arrays

ARMS = ("cells_bce", "exam_bce")
QUIET = {"say": lambda line: None}


@pytest.fixture(scope="module")
def folder(few_films, tmp_path_factory):
    """A second set of a few films, as a user's folder with a table."""
    made = few_films(3, patients=8)
    prepared(made, say=lambda line: None, track=lambda it, **_: it)
    (source,) = [p for p in Path(made.data.source).iterdir() if p.is_dir() and p.name[0] != "."]
    target = shutil.copytree(source, tmp_path_factory.mktemp("second") / "films")
    (table,) = target.glob("*.csv")
    rows = list(csv.DictReader(table.open(newline="")))
    table.unlink()
    with (target / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(
            file, ("path", "patient", "laterality", "view", "label"), extrasaction="ignore"
        )
        writer.writeheader()
        writer.writerows({**row, "path": row["file"]} for row in rows)
    return target


@pytest.fixture(scope="module")
def together(few_films, folder):
    settings = few_films(0)
    data = dataclasses.replace(settings.data, also=(f"folder:source={folder}",))
    table = dataclasses.replace(settings.crossval, arms=ARMS)
    return dataclasses.replace(settings, data=data, crossval=table)


@pytest.fixture(scope="module")
def run(together):
    return crossval(together, **QUIET)


def test_a_joined_set_holds_the_records_of_both_and_each_keeps_its_own(run):
    records = run.records
    first, second = records.parts
    assert records.set_names == ("phantom", "folder") and len(records) == len(first) + len(second) == 64
    assert len({r.number for r in records.records}) == len({r.record for r in records.records}) == 64
    assert not set(records.patients[records.sets == 0]) & set(records.patients[records.sets == 1])
    for part, start in ((first, 0), (second, len(first))):
        for i in (0, len(part) - 1):
            assert np.array_equal(records.image(start + i), part.image(i))
            assert np.array_equal(records.tissue(start + i), part.tissue(i))
            assert records.records[start + i].label == part.records[i].label
            assert records.records[start + i].record.endswith("/" + part.records[i].record)
    accounts = {
        row["number"]: row["file"] for row in csv.DictReader((records.directory / "accounts.csv").open())
    }
    assert all(accounts[str(r.number)] == r.record for r in records.records)


def test_folds_are_drawn_within_each_set(run, together):
    for parts in Experiment(together, run.records, say=lambda line: None, track=lambda it, **_: it).splits:
        for chosen in (parts.train, parts.held_out, *(watched for _, watched in parts.inner)):
            for k in range(2):
                labels = run.records.labels[chosen][run.records.sets[chosen] == k]
                assert set(labels) == {0, 1}  # without strata a set of four positives is missed by some fold


def test_each_set_has_the_units_of_its_own_training_films(run):
    for cell in run.cells:
        arrays, facts = read_arrays(cell.folder / "model.safetensors")
        means, deviations = (arrays[f"network_0/{name}"] for name in UNITS)
        assert facts["sets"] == ["phantom", "folder"]
        assert (
            means.shape == deviations.shape and len(means) == 2 and np.abs(means[0] - means[1]).max() > 1e-3
        )
        held_out = {int(row["record"]) for row in read_predictions(cell.folder)}
        assert 0 < len(held_out) < len(run.records)


def test_a_model_of_several_sets_scores_as_in_the_run_and_asks_which_set_a_film_is_like(run):
    folders = [cell.folder for cell in run.cells if cell.arm.name == "cells_bce"]
    with pytest.raises(UserError, match="trained on several sets, phantom, folder.*--like=phantom"):
        Model(folders)
    with pytest.raises(UserError, match="--like=mias is none of them"):
        Model(folders, like="mias")
    rows = {int(row["record"]): row for row in read_predictions(folders[0])}
    number = {r.number: i for i, r in enumerate(run.records.records)}
    none = (np.asarray([-1]), np.asarray([-1]))
    for k, name in enumerate(run.records.set_names):
        model = Model(folders[:1], like=name)
        i = next(number[n] for n in rows if run.records.sets[number[n]] == k)
        record = run.records.records[i]
        evidence = model.evidence(run.records.image(i), record.bits, run.records.tissue(i))
        (odds,) = model.log_odds([evidence], [[0]], np.asarray([-1]), none)
        # the same maps through programs of another batch size, and units within the network in place of before it
        assert odds == pytest.approx(float(rows[record.number]["log_odds"]), abs=2e-3)
    assert Model(folders, like="folder").key != Model(folders, like="phantom").key


def test_the_table_says_that_it_is_of_several_sets_and_gives_the_results_of_each(run):
    table, report = evaluate(run.directory, command="again")
    assert table.startswith(
        "**This is a table of several sets together, phantom, folder: read the results a set"
    )
    value = json.loads((run.directory / "table.json").read_text())["findings"]["Results a set"]
    rows = [row for cell in run.cells if cell.arm.name == "exam_bce" for row in read_predictions(cell.folder)]
    sets = {r.number: k for r, k in zip(run.records.records, run.records.sets)}
    for k, name in enumerate(run.records.set_names):
        aucs = []
        for fold in ("0", "1"):
            own = [r for r in rows if r["fold"] == fold and sets[int(r["record"])] == k]
            positive, negative = ([float(r["score"]) for r in own if r["label"] == label] for label in "10")
            pairs = np.subtract.outer(positive, negative)
            aucs.append(((pairs > 0) + 0.5 * (pairs == 0)).mean())
        assert value[name]["exam_bce"]["image"]["value"] == pytest.approx(np.mean(aucs), abs=1e-6)
    assert "Results a set" in report.read_text(encoding="utf-8")


def test_such_a_run_is_tested_on_another_set_in_the_units_of_the_one_that_is_named(run, few_films):
    on = few_films(1, patients=4)
    with pytest.raises(UserError, match="--like=phantom"):
        external(run.directory, on, arms=["cells_bce"], **QUIET)
    scores = {}
    for options in ({"like": "phantom"}, {"like": "folder"}, {"standardise": "own"}):
        directory = external(run.directory, on, arms=["cells_bce"], **options, **QUIET)
        (folder,) = read_table(directory).folders("cells_bce")
        scores[str(options)] = [float(row["log_odds"]) for row in read_predictions(folder)]
    assert len({tuple(s) for s in scores.values()}) == 3 and all(len(s) == 16 for s in scores.values())


def test_mistakes_are_found_before_anything_is_prepared(together):
    def also(*texts, arms=ARMS):
        data = dataclasses.replace(together.data, also=texts)
        return dataclasses.replace(
            together, data=data, crossval=dataclasses.replace(together.crossval, arms=arms)
        )

    for settings, message in (
        (also("absent:source=x"), "config.data.name is 'absent'"),
        (also("mias:sauce=x"), "'sauce=x' is no FIELD=VALUE.*did you mean source"),
        (also("mias:source=x,labels=odd"), "config.data.labels is 'odd'"),
        (also("mias:source=x", "mias:source=y"), "mias is there already"),
        (also("mias:source=x,source=y"), "source is given twice"),
        (also("mias:source=x", arms=("bce", "resize224_svm")), "resize224_svm has no units of its own"),
    ):
        with pytest.raises(UserError, match=message):
            checked(settings)
    with pytest.raises(UserError, match="source is empty for mias of config.data.also"):
        prepared(also("mias"), say=print, track=lambda it, **_: it)


def test_a_set_is_not_joined_with_itself(run):
    one = run.records.parts[0]
    with pytest.raises(UserError, match="names a set twice"):
        joined([one, one], one.directory.parent, say=print)


def test_where_a_part_is_gone_the_joined_set_is_not_there(run, tmp_path):
    folder = shutil.copytree(run.records.directory.parent, tmp_path / "prepared")
    cell = run.cells[0].folder
    assert prepared_of(folder, cell) is not None
    shutil.rmtree(folder / run.records.parts[1].directory.name)
    assert prepared_of(folder, cell) is None


def test_a_warning_that_names_a_file_names_it_by_its_number_here():
    assert _moved("the same picture under several patients: see file 3, 8", 100).endswith("see file 103, 108")
    assert (
        _moved("the same picture as file 12, whose label differs", 5)
        == "the same picture as file 17, whose label differs"
    )
    assert _moved("16 bits are declared, 12 used", 5) == "16 bits are declared, 12 used"


def test_columns_of_a_folder_can_be_named_where_it_is_the_second_set(together):
    changed = {"data.name": "mias", "data.also": ("folder:source=/y",), "data.folder.patient": "CaseID"}
    settings = with_overrides(from_mapping(defaults()), changed)
    (folder,) = further_sets(settings)
    assert folder.data.folder.patient == "CaseID" and folder.data.depth == 0


def test_an_arm_learns_the_same_whatever_arm_was_trained_on_that_fold_before_it(run, together, tmp_path):
    """One after the other on one fold, where the maps of the first one, without differences to the other breast, are still
    on the device."""
    data = dataclasses.replace(together.data, prepared=str(run.directory / "prepared"))
    scan = dataclasses.replace(together.scan, representations=str(run.directory / "representations"))
    fresh = dataclasses.replace(together, run=str(tmp_path / "run"), data=data, scan=scan)
    made = {cell.folder.name: cell.folder for cell in run.cells if cell.fold == 1}
    again = crossval(fresh, folds=[1], table=False, **QUIET)
    assert [cell.folder.name for cell in again.cells] == list(made)
    for cell in again.cells:
        assert read_predictions(cell.folder) == read_predictions(made[cell.folder.name])
        Model([cell.folder], like="folder")  # of as many channels as its file says
