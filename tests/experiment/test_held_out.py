"""Maps of held-out films and of new files agree with the scores that were made of them."""

import numpy as np
import pytest

from mammojax.experiment.held_out import Reading, film_maps, prepared_of
from mammojax.experiment.model import Model
from mammojax.experiment.predict import cell_maps, exam_of, files_of, predict
from mammojax.experiment.table import read_table
from mammojax.images.geometry import Geometry


def top(cells: np.ndarray) -> float:
    """What the classifier makes of log-odds of cells: the mean of the top 2%, at least one."""
    known = np.sort(cells[~np.isnan(cells)])
    return float(known[-max(1, round(0.02 * len(known))) :].mean())


@pytest.fixture(scope="module")
def maps(finished_run):
    folders = read_table(finished_run.directory).folders("cells_bce")
    records = prepared_of(finished_run.directory / "prepared", folders[0])
    readings = [Reading(folder, (folder,)) for folder in folders]
    return records, list(film_maps(readings, records, finished_run.directory / "representations"))


def test_the_top_cells_of_a_held_out_film_give_its_held_out_score(maps):
    records, found = maps
    assert sorted(m.record for m in found) == list(range(len(records)))
    for m in found:  # calibration is affine, so it may come before the mean; float32 sums are reordered
        assert top(m.cells) == pytest.approx(m.log_odds, rel=1e-4, abs=1e-4)


def test_cells_lie_on_the_breast_in_the_crop_and_in_the_original(maps):
    records, found = maps
    on_the_breast = []
    for m in found:
        record = records.records[m.record]
        assert m.centres.shape == (*m.cells.shape, 2)
        # the last cells begin in the crop, and may end beyond it
        assert m.centres[0, 0].min() >= 0 and np.all(m.centres[-1, -1] - 16 < (record.height, record.width))
        tissue = records.tissue(m.record) / 255
        inside = m.centres[~np.isnan(m.cells)]
        rows, columns = (inside // 8).astype(int).T
        on_the_breast.append(tissue[rows, columns].mean())
        original = Geometry.from_json(record.geometry).to_original(inside)
        top_left, size = np.asarray(record.box[:2]), np.asarray(record.box[2:])
        assert np.all(original >= top_left - 0.5) and np.all(original <= top_left + size - 0.5)
    # a cell at the skin is half breast, so its centre may lie outside
    assert np.mean(on_the_breast) > 0.75


def test_a_new_file_has_the_map_of_the_same_film_in_the_run(maps, finished_run, tmp_path):
    records, found = maps
    folders = read_table(finished_run.directory).folders("cells_bce")
    (source,) = [p for p in (finished_run.directory.parent / "dicom").iterdir() if p.name[0] != "."]
    held_out = {m.record: m for m in found if m.log_odds is not None}
    first = Reading(folders[0], (folders[0],))
    mine = [m.record for m in film_maps([first], records, finished_run.directory / "representations")][:2]
    files = files_of([str(source / records.records[i].record) for i in mine])
    model = Model(folders[:1])
    scored = list(predict(model, files, tmp_path))
    for file_map, i, row in zip(cell_maps(model, files, tmp_path), mine, scored):
        assert np.allclose(file_map.scores, held_out[i].cells, rtol=1e-4, atol=1e-4, equal_nan=True)
        assert top(file_map.scores) == pytest.approx(float(row["score"]), rel=1e-4, abs=1e-4)
        assert file_map.geometry.to_json() == records.records[i].geometry
        image = records.image(i).astype(float)
        assert file_map.picture.shape == image.shape
        assert np.corrcoef(file_map.picture.ravel(), image.ravel())[0, 1] > 0.999


def test_arms_without_cell_scores_have_no_maps(finished_run, maps):
    records, _ = maps
    folders = read_table(finished_run.directory).folders("resize224_svm")
    readings = [Reading(folder, (folder,)) for folder in folders]
    assert film_maps(readings, records, finished_run.directory / "representations") is None


@pytest.mark.parametrize(
    "nobody", ["", "0", "000", "Anonymous^Patient", "DE-IDENTIFIED", "REDACTED", "xxx", "---"]
)
def test_words_for_nobody_join_no_films_to_an_exam(nobody):
    assert exam_of(nobody) == ""
    assert exam_of("4711") == exam_of("4711") != exam_of("4712") != ""


@pytest.mark.parametrize("arm", ["exam_bce", "cells_bce"])
def test_a_film_is_said_to_be_read_with_the_films_that_its_score_depends_on_and_no_others(
    finished_run, tmp_path, arm
):
    (source,) = [p for p in (finished_run.directory.parent / "dicom").iterdir() if p.name[0] != "."]
    model = Model(read_table(finished_run.directory).folders(arm))
    of = {}
    for record in finished_run.records.records:
        of.setdefault(record.patient, []).append(str(source / record.record))
    exam = next(iter(of.values()))
    assert len(exam) == 4

    def scored(paths):
        return {row["file"]: row for row in predict(model, files_of(paths), tmp_path)}

    whole = scored(exam)
    without = {path: scored([other for other in exam if other != path]) for path in exam}
    for path in exam:
        others = [other for other in exam if other != path]
        needed = [other for other in others if without[other][path]["score"] != whole[path]["score"]]
        assert sorted(filter(None, whole[path]["read_with"].split("; "))) == sorted(needed)
        assert len(needed) == (3 if arm == "exam_bce" else 0)
