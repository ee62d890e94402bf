"""The whole way on a tiny phantom set: files in, table and report out; then again, with other settings, and new files.

Everything is asked of one cross-validation: two processes make the arms together that cost little to compile, a third
adds the others.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from program import ROOT, error_line, run
from scipy.stats import rankdata

ARMS = (
    "resize224_svm",
    "bce",
    "auc",
    "auc_finetuned",
    "cells_bce:training.epochs=4",
    "exam_bce:training.epochs=4",
)
TOGETHER = ARMS[:2]
TINY = {
    "data.name": "phantom",
    "data.phantom.patients": 8,
    "data.phantom.prevalence": 0.5,
    "data.phantom.height": 128,
    "data.phantom.width": 96,
    "data.workers": 0,
    "crossval.folds": 2,
    "crossval.resamples": 50,
    "crossval.arms": ARMS,
    "training.inner": 2,
    "training.epochs": 3,
    "model.np": 4,
    "model.paper.filters": (8, 8),
    "model.paper.hidden": (8,),
    "finetune.epochs": 1,
    "finetune.frozen": 10,
}
FILMS = 32


def settings_of(folder, **changes):
    from mammojax.settings import Settings, with_overrides

    own = {"run": str(folder), "data.source": str(folder / "dicom")}
    return with_overrides(Settings(), {**TINY, **own, **changes})


def command(folder, arms=ARMS):
    own = {**TINY, "run": folder, "data.source": folder / "dicom", "crossval.arms": arms}
    return ["launch.crossval", *(f"--config.{path}={value}" for path, value in own.items())]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run; what two processes printed that began it with the same command, both started in a fresh folder; their table."""
    folder = tmp_path_factory.mktemp("crossval") / "run"
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda _: run(*command(folder, TOGETHER)), range(2)))
    assert [done.returncode for done in both] == [0, 0], [done.stderr for done in both]
    table = (folder / "table.md").read_text().strip()
    whole = run(*command(folder))
    assert whole.returncode == 0, whole.stderr
    return SimpleNamespace(folder=folder, printed=[done.stdout for done in both], table=table)


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def everything(folder):
    """The bytes of all that is read of the results, by name."""
    names = ("cells.json", "predictions.csv", "table.md", "table.json", "folds.json")
    return {name: (folder / name).read_bytes() for name in names}


def test_a_run_leaves_everything_that_the_design_promises(finished):
    folder = finished.folder
    for name in ("config.json", "environment.json", "folds.json", "accounts.csv", "cells.json", "predictions.csv",
                 "table.md", "table.json", "report.html", "figures/roc.png", "figures/training_curves.png"):  # fmt: skip
        assert (folder / name).stat().st_size > 0, name
    index = json.loads((folder / "cells.json").read_text())
    assert [arm for arm, _ in index["arms"]] == list(ARMS)
    for arm, cells in index["arms"]:
        for cell in cells:
            names = {p.name for p in (folder / "cells" / cell["key"]).iterdir()}
            assert {"stage.json", "model.safetensors", "calibration.json", "predictions.csv"} <= names
            assert "work" not in names and ("metrics.jsonl" in names) == (arm != "resize224_svm")


def test_two_processes_with_one_command_share_the_work_and_end_with_one_table(finished):
    folder = finished.folder
    assert all(finished.table in printed for printed in finished.printed)
    for kind, expected in (("cells", len(ARMS) * 2), ("prepared", 1), ("dicom", 1), ("representations", 3)):
        stages = [p.parent for p in (folder / kind).glob("*/stage.json")]
        assert len(stages) == expected, kind  # representations: np x np, dense, and whole images
    assert not list(folder.rglob("*.damaged-*"))
    for arm in TOGETHER:
        for fold in range(2):
            line = f"{arm} fold {fold}: held-out AUC"
            assert all(printed.count(line) == 1 for printed in finished.printed), arm


def test_every_record_is_predicted_once_by_every_arm_on_a_fold_that_did_not_train_on_its_patient(finished):
    folds = json.loads((finished.folder / "folds.json").read_text())["folds"]["repeat 0"]
    rows = rows_of(finished.folder / "predictions.csv")
    assert len(rows) == len(ARMS) * FILMS and len(folds) == FILMS
    assert len({(row["arm"], row["record"]) for row in rows}) == len(rows)
    patients = {}
    for row in rows:
        assert int(row["fold"]) == folds[row["record"]]
        assert float(row["probability"]) == pytest.approx(
            1 / (1 + np.exp(-float(row["log_odds"]))), rel=1e-12
        )
        patients.setdefault(row["patient"], set()).add(row["fold"])
    assert len(patients) == 8 and all(len(held_out) == 1 for held_out in patients.values())


def test_the_table_has_every_arm_by_its_title(finished):
    table = (finished.folder / "table.md").read_text()
    for title in (
        "Baseline 1",
        "Baseline 2",
        "The paper's",
        "AUC loss, fine-tuned",
        "Top cells",
        "Read with its exam",
    ):
        assert title in table


def test_the_report_is_one_file_that_needs_no_network(finished):
    class References(HTMLParser):
        found: ClassVar[list] = []

        def handle_starttag(self, tag, attributes):
            self.found += [v for k, v in attributes if k in ("src", "href", "srcset", "data") and v]

    References().feed((finished.folder / "report.html").read_text(encoding="utf-8"))
    assert all(v.startswith(("data:", "#")) for v in References.found), References.found


def test_a_second_start_trains_nothing_and_changes_no_byte(finished):
    before = everything(finished.folder)
    done = run(*command(finished.folder), timeout=3600)
    assert done.returncode == 0, done.stderr
    stages = 1 + 1 + 3 + len(ARMS) * 2  # phantoms, the prepared set, representations, cells
    assert done.stdout.count("is reused") >= stages and "epoch" not in done.stderr
    assert everything(finished.folder) == before


def test_a_notebook_gets_the_launchers_run(finished):
    from mammojax.experiment import crossval

    before, lines = everything(finished.folder), []
    found = crossval(settings_of(finished.folder), say=lines.append)
    assert [cell.folder.name for cell in found.cells] == [
        cell["key"] for _, cells in json.loads(before["cells.json"])["arms"] for cell in cells
    ]
    assert found.proposed == ARMS[-1] and len(found.records) == FILMS
    assert everything(finished.folder) == before
    assert sum("is reused" in line for line in lines) >= len(found.cells)


def test_another_learning_rate_in_a_finished_run_leaves_its_table_as_it_was(finished):
    """Cells of other settings lie beside those of the table, and only a cross-validation says which make one."""
    from mammojax.experiment import crossval
    from mammojax.report.run import evaluate

    folder = finished.folder
    before, cells = everything(folder), {p.name for p in (folder / "cells").iterdir()}
    changed = settings_of(folder, **{"training.learning_rate": 0.01, "crossval.arms": ("bce",)})
    trained = crossval(changed, folds=[1], table=False, say=lambda text: None)  # as launch.train does
    new = {p.name for p in (folder / "cells").iterdir()} - cells
    assert trained.cells[0].folder.name in new
    evaluate(folder, command="launch.evaluate")
    after = everything(folder)
    assert after == before


# -- new files ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def new(finished, tmp_path_factory):
    """Two folders whose files have the same names and other contents, and one with files that are no pictures."""
    folder = tmp_path_factory.mktemp("new")
    films = sorted((finished.folder / "dicom").rglob("*.dcm"))
    assert len(films) == FILMS
    for name, chosen in (("a", films[:6]), ("b", films[6:12])):
        (folder / name).mkdir()
        for k, film in enumerate(chosen):
            shutil.copy(film, folder / name / f"{k}.dcm")
    (folder / "c").mkdir()
    (folder / "c" / "broken.dcm").write_bytes(films[0].read_bytes()[:700])
    (folder / "c" / "text.png").write_text("no picture")
    return folder


def model_of(folder, arm):
    from mammojax.experiment.model import Model
    from mammojax.experiment.table import read_table

    return Model(read_table(folder).folders(arm))


def scored(model, work, *folders):
    from mammojax.experiment.predict import files_of, predict

    return list(predict(model, files_of([str(f) for f in folders]), work))


def test_a_killed_prediction_takes_no_file_for_another_of_the_same_name(finished, new, tmp_path):
    output = tmp_path / "scores.csv"
    arguments = ["launch.predict", f"--run={finished.folder}", "--arm=bce", f"--output={output}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    first = subprocess.Popen([sys.executable, "-m", *arguments, str(new / "a")], cwd=ROOT, env=environment,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    while first.poll() is None and len(list(tmp_path.glob(".scores.csv.*/*.json"))) < 2:
        time.sleep(0.01)
    first.kill()
    first.wait()
    if not output.exists():  # unless the kill came too late, as it may on a busy machine
        assert list(tmp_path.glob(".scores.csv.*/*.json"))
    done = run(*arguments, str(new / "b"), str(new / "a"), timeout=3600)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob(".scores.csv.*"))
    rows = rows_of(output)
    # a row a file, told apart by the folder
    assert [r["file"] for r in rows] == [f"{new}/{f}/{k}.dcm" for f in "ba" for k in range(6)]
    fresh = scored(model_of(finished.folder, "bce"), tmp_path / "fresh", new / "b", new / "a")
    assert [r["score"] for r in rows] == [r["score"] for r in fresh]  # the same bits as without a kill
    scores, probabilities = (np.asarray([float(r[name]) for r in rows]) for name in ("score", "probability"))
    assert len(set(scores)) > 6 and np.array_equal(rankdata(scores), rankdata(probabilities))
    assert all(int(r["box_height"]) > 30 and int(r["box_width"]) > 15 and not r["reason"] for r in rows)


def test_files_that_cannot_be_scored_keep_their_row_with_a_reason(finished, new, tmp_path):
    rows = scored(model_of(finished.folder, "bce"), tmp_path / "work", new / "c", new / "a" / "0.dcm")
    assert [r["file"] for r in rows] == ["broken.dcm", "text.png", f"{new}/a/0.dcm"]
    assert [bool(r["reason"]) for r in rows] == [True, True, False]
    assert [bool(r["score"]) for r in rows] == [False, False, True]


@pytest.mark.parametrize("arm", ARMS)
def test_model_files_alone_score_a_film_as_it_was_scored_when_it_was_held_out(finished, tmp_path, arm):
    """Neither config.json, which every launch writes, nor records, folds or representations are asked."""
    from mammojax.experiment.table import read_table

    folder = tmp_path / "moved"
    for cell in read_table(finished.folder).folders(arm):
        for name in ("stage.json", "model.safetensors"):
            target = folder / "cells" / cell.name / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(cell / name, target)
    shutil.copy(finished.folder / "cells.json", folder)
    index = json.loads((folder / "cells.json").read_text())
    index["arms"] = [entry for entry in index["arms"] if entry[0] == arm]
    (folder / "cells.json").write_text(json.dumps(index))
    written = [r for r in rows_of(finished.folder / "predictions.csv") if r["arm"] == arm]
    patient = written[0]["patient"]  # all films of an exam: some arms read a film with the others
    films = [r for r in written if r["patient"] == patient]
    paths = [next((finished.folder / "dicom").glob(f"*/{r['file']}")) for r in films]
    from mammojax.experiment.model import Model

    held_out = [e for e in index["arms"][0][1] if e["fold"] == int(films[0]["fold"])]
    model = Model([folder / "cells" / e["key"] for e in held_out])
    rows = scored(model, tmp_path / "work", *paths)
    # one film at a time, not a batch: float32 sums in another order, through the calibration's slope
    expected = [float(r["log_odds"]) for r in films]
    np.testing.assert_allclose([float(r["score"]) for r in rows], expected, rtol=2e-3, atol=2e-3)
    # three epochs of stage two on four pixels a cell leave the scores of that arm nearly alike: there it says little
    assert np.ptp(expected) > 0.01 or arm == "auc_finetuned"


def test_what_is_scanned_or_asked_for_later_changes_no_score_of_a_finished_run(finished, new, tmp_path):
    from mammojax.experiment import inputs
    from mammojax.runs.environment import record_settings
    from mammojax.settings import to_mapping

    folder = finished.folder
    model = model_of(folder, "bce")
    before = scored(model, tmp_path / "before", new / "a")
    other = settings_of(folder, **{"model.np": 2, "data.margin": 0.3})
    config = (folder / "config.json").read_bytes()
    try:
        quiet = {"say": lambda text: None, "track": lambda it, **_: it}
        records = inputs.prepared(settings_of(folder), **quiet)
        inputs.represented(other, records, inputs.network(other), **quiet)  # as launch.scan does
        record_settings(folder, to_mapping(other))
        assert scored(model_of(folder, "bce"), tmp_path / "after", new / "a") == before
    finally:
        (folder / "config.json").write_bytes(config)


def test_predicting_nothing_or_with_an_unfinished_run_is_one_line(finished, tmp_path):
    from mammojax.errors import UserError
    from mammojax.experiment.predict import files_of

    with pytest.raises(UserError, match="no files to score"):
        files_of([])
    assert "holds no finished cross-validation" in error_line(
        run("launch.predict", f"--run={tmp_path}", "x.dcm")
    )
