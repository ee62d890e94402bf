"""A run's networks on another set: every one scores every record, as it would score the file; nothing is made twice."""

import csv
from pathlib import Path

import numpy as np
import pytest

from mammojax.errors import UserError
from mammojax.experiment import crossval
from mammojax.experiment.external import external
from mammojax.experiment.held_out import prepared_of
from mammojax.experiment.model import Model
from mammojax.experiment.predict import files_of, predict
from mammojax.experiment.table import read_table
from mammojax.experiment.whole_set import scanned
from mammojax.settings import with_overrides


def rows(directory: Path, arm: str) -> dict[str, float]:
    (folder,) = read_table(directory).folders(arm)
    with (folder / "predictions.csv").open(newline="") as file:
        return {row["file"]: float(row["log_odds"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def other(few_films):
    return few_films(1, patients=4)


@pytest.fixture(scope="module")
def tested(own_run, other):
    said = []
    return external(own_run.directory, other, say=said.append), said


def test_a_record_scores_as_its_file_does_with_all_films_of_the_exam(own_run, tested, other, tmp_path):
    directory, _ = tested
    (folder,) = [p for p in Path(other.data.source).iterdir() if p.is_dir() and not p.name.startswith(".")]
    table = read_table(own_run.directory)
    for arm in ("resize224_svm", "exam_bce"):
        model = Model(table.folders(arm))
        found = {
            row["file"]: float(row["score"])
            for row in predict(model, files_of([str(folder)]), tmp_path / arm)
        }
        scores = rows(directory, arm)
        assert len(model) == 2 and len(found) == len(scores) == 16
        for name, score in scores.items():  # float32 sums of another batch size: some units in the last place
            assert score == pytest.approx(found[name], rel=1e-4, abs=1e-4)


def test_the_same_command_reads_nothing_anew(own_run, tested, other):
    directory, said = tested
    before = (directory / "cells.json").read_bytes()
    assert not any("exam_bce" in line and "is reused" in line for line in said)
    again = []
    assert external(own_run.directory, other, say=again.append) == directory
    assert sum("is reused" in line for line in again) >= 1 + 3  # the prepared set and a cell an arm
    assert not any("take" in line and "MB" in line for line in again)
    assert (directory / "cells.json").read_bytes() == before


def test_own_standardisation_takes_the_tissue_cells_of_the_other_set_without_labels(own_run, other, tested):
    said = []
    directory = external(own_run.directory, other, arms=["cells_bce"], standardise="own", say=said.append)
    assert any("this set's own tissue cells, without labels (--standardise=own)" in line for line in said)
    own, trained = rows(directory, "cells_bce"), rows(tested[0], "cells_bce")
    assert directory != tested[0] and max(abs(own[name] - trained[name]) for name in own) > 1e-3
    # the reference: top cells of the standardised map in float64, from the cache and each network's kernel
    model = Model(read_table(own_run.directory).folders("cells_bce"))
    (cell,) = read_table(directory).folders("cells_bce")
    records = prepared_of(own_run.directory / "prepared", cell)
    quiet = {"say": lambda line: None, "track": lambda it, **_: it}
    made = scanned(model, records, own_run.directory / "representations", **quiet)
    cells = [made.read(i)[made.tissue(i)].astype(float) for i in range(len(made))]
    every = np.concatenate(cells)
    for i in (0, 5):
        odds = []
        for facts, (net,) in zip(model._cells, model.networks):
            standard = np.clip((cells[i] - every.mean(0)) / every.std(0), -6, 6)
            scores = np.sort(standard @ np.asarray(net.score.kernel[...], float)[:, 0])
            top = scores[-max(1, round(0.02 * len(scores))) :].mean() + float(net.bias[...])
            odds.append(facts["calibration"]["slope"] * top + facts["calibration"]["intercept"])
        assert own[records.records[i].record] == pytest.approx(np.mean(odds), rel=1e-3, abs=1e-3)


def test_what_cannot_be_tested_is_one_line(own_run, other):
    with pytest.raises(
        UserError, match="has no arm 'absent'; its table has resize224_svm, exam_bce, cells_bce"
    ):
        external(own_run.directory, other, arms=["absent"], say=lambda line: None)
    with pytest.raises(UserError, match="holds no finished cross-validation"):
        external(Path(other.run), other, say=lambda line: None)


def test_films_that_the_run_was_trained_on_are_no_test(own_run):
    with pytest.raises(
        UserError, match="32 of 32 pictures of phantom are among those that the run was trained on"
    ):
        external(own_run.directory, own_run.settings, arms=["cells_bce"], say=lambda line: None)


def test_cells_that_differ_in_settings_that_they_do_not_read_are_one_model(own_run, tmp_path):
    """The cells of the grid, the other breast's channels: an SVM of whole images has neither, and keeps its cells."""
    settings = with_overrides(
        own_run.settings,
        {
            "run": str(tmp_path / "run"),
            "data.prepared": str(own_run.directory / "prepared"),
            "scan.representations": str(own_run.directory / "representations"),
            "crossval.arms": "resize224_svm",
        },
    )
    other = with_overrides(settings, {"model.np": 7, "model.contrast": "channels"})
    quiet = {"table": False, "say": lambda line: None}
    first = crossval(other, folds=[0], **quiet)
    whole = crossval(settings, **quiet)
    assert whole.cells[0].folder == first.cells[0].folder
    model = Model([cell.folder for cell in whole.cells])
    assert len(model) == 2 and not model.reads_exams
    with pytest.raises(UserError, match="is of another model: it differs in .*model.map"):
        Model([whole.cells[0].folder, *read_table(own_run.directory).folders("cells_bce")])


def test_an_external_validation_is_no_run_that_scores_and_loses_nothing_by_being_asked(tested):
    directory, _ = tested
    (folder,) = read_table(directory).folders("cells_bce")
    with pytest.raises(UserError, match="model.safetensors is not a file of this stage"):
        Model([folder])
    assert rows(directory, "cells_bce")
