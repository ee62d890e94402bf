"""The whole way on a tiny phantom set: files in, table and report out; then again, and new files."""

import csv
import json
import shutil
from html.parser import HTMLParser
from typing import ClassVar

import numpy as np
import pytest
from program import error_line, run

ARMS = ("resize224_svm", "bce", "weighted_bce", "auc", "auc_finetuned")
TINY = [
    "--config.data.phantom.patients=12",
    "--config.data.phantom.prevalence=0.5",
    "--config.data.phantom.height=256",
    "--config.data.phantom.width=192",
    "--config.crossval.folds=2",
    "--config.training.inner=3",
    "--config.training.epochs=3",
    "--config.model.np=4",
    "--config.model.paper.filters=(8,8)",
    "--config.model.paper.hidden=(8,)",
    "--config.crossval.resamples=50",
    "--config.data.workers=0",
    "--config.finetune.epochs=1",
    f"--config.crossval.arms={ARMS!r}",
    "--config.scan.copies=2",
]


def crossval(folder, *flags):
    return run(
        "launch.crossval",
        f"--config.run={folder}",
        f"--config.data.source={folder / 'dicom'}",
        *TINY,
        *flags,
        timeout=400,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crossval") / "run"
    done = crossval(folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_run_leaves_everything_that_the_design_promises(finished):
    folder, _ = finished
    for name in (
        "config.json",
        "environment.json",
        "folds.json",
        "accounts.csv",
        "rejected.csv",
        "predictions.csv",
        "table.md",
        "table.json",
        "report.html",
    ):
        assert (folder / name).stat().st_size > 0, name
    for arm in ARMS:
        for fold in range(2):
            assert (folder / "arms" / arm / f"fold_{fold}" / "predictions.csv").is_file()
            assert (
                arm == "resize224_svm" or (folder / "arms" / arm / f"fold_{fold}" / "metrics.jsonl").is_file()
            )
    assert {"roc.png", "training_curves.png"} <= {p.name for p in (folder / "figures").iterdir()}


def test_every_record_is_predicted_once_by_every_arm_on_a_fold_that_did_not_train_on_its_patient(finished):
    folder, _ = finished
    folds = json.loads((folder / "folds.json").read_text())["folds"]
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(ARMS) * 48 and len(folds) == 48
    for row in rows:
        assert int(row["fold"]) == folds[row["record"]]
        odds = float(row["log_odds"])
        assert float(row["probability"]) == pytest.approx(1 / (1 + np.exp(-odds)), rel=1e-12)
    patients = {}
    for row in rows:
        patients.setdefault(row["patient"], set()).add(row["fold"])
    assert len(patients) == 12 and all(len(f) == 1 for f in patients.values())


def test_the_table_on_the_screen_has_every_arm_with_its_interval(finished):
    folder, printed = finished
    table = (folder / "table.md").read_text()
    assert table.strip() in printed
    for name in ("Baseline 1", "Baseline 2", "Class-weighted", "Proposed"):
        assert name in table


def test_the_report_is_one_file_that_needs_no_network(finished):
    folder, _ = finished

    class References(HTMLParser):
        found: ClassVar[list] = []

        def handle_starttag(self, tag, attributes):
            self.found += [v for k, v in attributes if k in ("src", "href", "srcset", "data") and v]

    References().feed((folder / "report.html").read_text(encoding="utf-8"))
    assert all(v.startswith(("data:", "#")) for v in References.found), References.found


def test_a_second_start_reuses_everything_and_changes_no_result(finished):
    folder, _ = finished
    before = (folder / "predictions.csv").read_bytes()
    done = crossval(folder)
    assert done.returncode == 0 and done.stdout.count("is reused") >= 1 + 1 + len(ARMS) * 2
    assert (folder / "predictions.csv").read_bytes() == before


def test_the_same_settings_from_config_json_in_another_folder_give_the_same_scores(finished, tmp_path):
    folder, _ = finished
    flags = [
        f"--config=configs/rerun.py:{folder / 'config.json'}",
        f"--config.run={tmp_path / 'again'}",
        "--config.crossval.arms=('auc',)",
    ]
    done = run("launch.crossval", *flags, timeout=200)
    assert done.returncode == 0, done.stderr

    def scores(path):
        with path.open(newline="") as file:
            return {r["record"]: r["score"] for r in csv.DictReader(file) if r["arm"] == "auc"}

    assert scores(tmp_path / "again/predictions.csv") == scores(folder / "predictions.csv")


def test_changed_settings_train_anew_and_keep_what_was_there(finished):
    folder, _ = finished
    copy = folder.parent / "changed"
    shutil.copytree(folder, copy)
    flags = [f"--config.run={copy}", f"--config.data.source={folder / 'dicom'}", *TINY]
    done = run(
        "launch.train", *flags, "--config.training.learning_rate=0.01", "--arm=bce", "--fold=1", timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert "bce fold 1 was made with other settings; its files are kept in fold_1.was-" in done.stdout
    assert len(list((copy / "arms/bce").glob("fold_1.was-*"))) == 1
    assert (copy / "arms/bce/fold_0/predictions.csv").read_bytes() == (
        folder / "arms/bce/fold_0/predictions.csv"
    ).read_bytes()


def test_new_files_get_scores_boxes_or_reasons(finished, tmp_path):
    folder, _ = finished
    new = tmp_path / "new"
    new.mkdir()
    films = sorted((folder / "dicom").rglob("*.dcm"))[:3]
    for k, film in enumerate(films):
        shutil.copy(film, new / f"film{k}.dcm")
    (new / "broken.dcm").write_bytes(films[0].read_bytes()[:700])
    (new / "text.png").write_text("no picture")
    for arm in ("auc", "resize224_svm", "auc_finetuned"):
        output = tmp_path / f"{arm}.csv"
        done = run(
            "launch.predict", f"--run={folder}", f"--arm={arm}", f"--output={output}", str(new), timeout=200
        )
        assert done.returncode == 0, done.stderr
        with output.open(newline="") as file:
            rows = {r["file"]: r for r in csv.DictReader(file)}
        assert len(rows) == 5
        for k in range(3):
            row = rows[f"film{k}.dcm"]
            assert (
                np.isfinite(float(row["score"])) and 0 < float(row["probability"]) < 1 and not row["reason"]
            )
            assert int(row["box_height"]) > 50 and int(row["box_width"]) > 30
        for name in ("broken.dcm", "text.png"):
            assert rows[name]["reason"] and not rows[name]["score"]


def test_a_network_scores_a_training_file_as_it_did_in_its_own_run(finished, tmp_path):
    """The mean over folds contains each fold's score, so with both folds' held-out scores known, both must be hit."""
    from mammojax.experiment.predict import load_model
    from mammojax.images.breast import crop_breast
    from mammojax.images.reading.any_file import read_mammogram

    folder, _ = finished
    with (folder / "arms/auc/fold_1/predictions.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    (path,) = (folder / "dicom").rglob(row["record"])
    crop = crop_breast(read_mammogram(path.read_bytes(), path.name))
    scores = load_model(folder, "auc").scores(crop.image, crop.bits)
    # batch size 1 against the run's batches: float32 sums are reordered, a few units in the last place
    assert scores[1] == pytest.approx(float(row["score"]), rel=1e-4, abs=1e-5)


def test_predicting_nothing_or_with_an_unfinished_run_is_one_line(finished, tmp_path):
    folder, _ = finished
    assert "no files to score" in error_line(run("launch.predict", f"--run={folder}"))
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    assert "has no finished auc fold_0" in error_line(run("launch.predict", f"--run={tmp_path}", "x.dcm"))
