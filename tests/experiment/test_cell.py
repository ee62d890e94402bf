"""One cell of the table: kept under its key, calibrated out of fold, networks averaged in units that mean the same."""

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

from mammojax.evaluation.calibration import fit_platt
from mammojax.experiment.arms import arm_of
from mammojax.experiment.crossval import Run, _End
from mammojax.experiment.fit import MODEL_FILE, Neighbours, Scored, cell
from mammojax.experiment.predictions import gather, read_predictions
from mammojax.experiment.split import Split
from mammojax.runs import stages
from mammojax.settings import Settings, with_overrides
from mammojax.training.saved import read_arrays

N = 40
LABELS = (np.arange(N) % 4 == 0).astype(int)
TRAIN, HELD_OUT = np.arange(10, N), np.arange(10)
PARTS = Split(0, 1, TRAIN, HELD_OUT, ((TRAIN[:15], TRAIN[15:]), (TRAIN[15:], TRAIN[:15])))
NOBODY = np.full(N, -1)
ALONE = Neighbours(NOBODY, NOBODY)
EVIDENCE = np.random.default_rng(0).normal(size=N) + 1.5 * LABELS


def rows(numbers):
    facts = {"file": "x", "patient": 1, "breast": 1, "laterality": "L", "view": "CC", "geometry": "{}"}
    return [[{"record": int(k) + 1, "label": int(LABELS[k]), **facts}] for k in numbers]


def learner(*units):
    """Networks that see the same evidence in units of their own: (scale, offset) each."""
    left = list(units)

    def learn(folder, seed):
        scale, offset = left.pop(0)
        scores = scale * EVIDENCE + offset
        arrays = {"weight": np.asarray([scale, offset])}
        return Scored(scores[HELD_OUT], scores[TRAIN], arrays, {"epoch": 3}, {3: 0.7})

    return learn


def made(
    directory,
    *units,
    neighbours=ALONE,
    name="bce",
    made_from=None,
    learn=None,
    say=lambda text: None,
    **fields,
):
    overrides = {"model.ensemble": max(len(units), 1)} | {k.replace("__", "."): v for k, v in fields.items()}
    arm = arm_of(with_overrides(Settings(), overrides), name)
    return cell(directory, arm, PARTS, learn or learner(*units), made_from=made_from or {"prepared": "0"},
                use={"backbone": "none"}, rows=rows, labels=LABELS, neighbours=neighbours, seed=0, say=say)  # fmt: skip


def log_odds(folder):
    return np.asarray([float(row["log_odds"]) for row in read_predictions(folder)])


def test_a_cell_holds_predictions_calibrated_on_scores_of_the_training_folds(tmp_path):
    folder = made(tmp_path, (1.0, 0.0)).attempt()
    platt = fit_platt(EVIDENCE[TRAIN], LABELS[TRAIN])
    written = read_predictions(folder)
    assert [int(row["record"]) for row in written] == [int(k) + 1 for k in HELD_OUT]
    assert [float(row["score"]) for row in written] == EVIDENCE[HELD_OUT].tolist()
    assert np.array_equal(log_odds(folder), platt.log_odds(EVIDENCE[HELD_OUT]))
    assert {row["fold"] for row in written} == {"1"}
    assert json.loads((folder / "selection.json").read_text())[0]["chosen"] == {"epoch": 3}
    assert stages.finished(folder)["chosen"] == [{"epoch": 3}]


def test_networks_of_an_ensemble_are_averaged_as_calibrated_log_odds(tmp_path):
    units = (1.0, 0.0), (0.01, 700.0)  # as far apart as scores of two networks may be
    folder = made(tmp_path, *units).attempt()
    each = [fit_platt(s * EVIDENCE[TRAIN] + o, LABELS[TRAIN]) for s, o in units]
    mean = np.mean([p.log_odds(s * EVIDENCE + o) for p, (s, o) in zip(each, units)], axis=0)
    final = fit_platt(mean[TRAIN], LABELS[TRAIN])
    # one sum of float64 numbers or another, through one minimiser
    np.testing.assert_allclose(log_odds(folder), final.log_odds(mean[HELD_OUT]), rtol=1e-6)
    alone = made(tmp_path / "alone", (1.0, 0.0)).attempt()
    # both networks say the same, in units of their own: so does their mean; minimised twice
    np.testing.assert_allclose(log_odds(folder), log_odds(alone), atol=0.05)
    arrays, facts = read_arrays(folder / MODEL_FILE)
    assert set(arrays) == {"network_0/weight", "network_1/weight"} and len(facts["calibrations"]) == 2


def test_an_exam_is_read_out_with_a_partner_of_the_same_fold(tmp_path):
    partner = np.arange(N) ^ 1
    folder = made(tmp_path, (1.0, 0.0), neighbours=Neighbours(partner, NOBODY), model__contrast="score",
                  model__share=0.5).attempt()  # fmt: skip
    expected = EVIDENCE - 0.5 * EVIDENCE[partner]
    written = [float(row["score"]) for row in read_predictions(folder)]
    np.testing.assert_allclose(written, expected[HELD_OUT], rtol=1e-12)
    platt = fit_platt(expected[TRAIN], LABELS[TRAIN])
    np.testing.assert_allclose(log_odds(folder), platt.log_odds(expected[HELD_OUT]), rtol=1e-9)


def test_the_same_cell_is_reused_and_another_is_another_folder(tmp_path):
    first = made(tmp_path, (1.0, 0.0)).attempt()
    before = (first / "predictions.csv").read_bytes()
    lines = []
    assert made(tmp_path, say=lines.append).attempt() == first  # no learner is asked
    assert lines == ["bce fold 1 is reused"]
    others = {
        made(tmp_path, (2.0, 0.0), training__learning_rate=0.01).attempt(),
        made(tmp_path, (3.0, 0.0), made_from={"prepared": "1"}).attempt(),
        made(tmp_path, (4.0, 0.0), name="weighted_bce").attempt(),
    }
    assert len(others | {first}) == 4 and (first / "predictions.csv").read_bytes() == before


def test_every_network_gets_a_seed_and_a_place_of_its_own_and_arms_share_the_seeds(tmp_path):
    seen = []

    def learn(folder, seed):
        seen.append((folder, seed))
        return learner((1.0, 0.0))(folder, seed)

    cells = [
        made(tmp_path, name=name, learn=learn, model__ensemble=3).attempt()
        for name in ("bce", "weighted_bce")
    ]
    places, seeds = zip(*seen)
    assert seeds[:3] == seeds[3:] and len(set(seeds)) == 3
    # a network that met the checkpoints of the one before would go on from them
    assert len(set(places)) == 6 and places[0] == cells[0]


def test_a_damaged_cell_is_found_before_it_enters_a_table(tmp_path):
    folder = made(tmp_path, (1.0, 0.0)).attempt()
    path = folder / "predictions.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")  # a row is lost
    stages._compared.clear()
    with pytest.raises(stages.Damaged, match=r"predictions.csv is damaged"):
        gather(tmp_path / "predictions.csv", [("bce", folder)])
    assert made(tmp_path, (1.0, 0.0)).attempt() == folder and len(read_predictions(folder)) == 10


def test_the_proposed_arm_of_a_table_of_some_arms_is_one_of_them():
    settings = with_overrides(
        Settings(), {"crossval.arms": "bce,auc,exam_bce", "crossval.proposed": "exam_bce"}
    )
    bce, auc, exam = (arm_of(settings, name) for name in settings.crossval.arms)
    assert Run(settings, (bce, exam, auc), (), None).proposed == "exam_bce"
    assert Run(settings, (bce, auc), (), None).proposed == "auc"


def test_the_end_is_estimated_from_cells_and_not_from_what_came_before_them(monkeypatch):
    clock = iter(range(0, 10**6, 3600))  # an hour's scan between any two looks
    stand_in = SimpleNamespace(
        monotonic=lambda: float(next(clock)),
        time=lambda: 0.0,
        strftime=time.strftime,
        localtime=time.localtime,
    )
    monkeypatch.setitem(_End.after.__globals__, "time", stand_in)
    end = _End(5)
    assert end.after(0.01) == ""  # reused, and no word of how long one takes
    assert end.after(60.0).startswith("; 3 cells left, until about ")
    told = end.after(120.0)
    assert told == f"; 2 cells left, until about {time.strftime('%a %H:%M', time.localtime(180))}"
