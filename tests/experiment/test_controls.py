"""Controls keep what they should and exchange what they say."""

import dataclasses
from types import SimpleNamespace

import numpy as np

from mammojax.datasets.samples import Samples
from mammojax.experiment import crossval
from mammojax.experiment.controls import exchanged_labels, random_partner
from mammojax.experiment.external import external
from mammojax.experiment.predictions import read_predictions
from mammojax.report.run import evaluate

PATIENTS = np.repeat(np.arange(10), 4)
LABELS = (np.isin(PATIENTS, (1, 4, 7)) & (np.arange(40) % 4 < 2)).astype(np.int32)


def test_labels_go_from_patient_to_patient_whole():
    samples = Samples(tuple(map(str, range(40))), tuple(np.asarray([i]) for i in range(40)), LABELS, PATIENTS)
    exchanged = exchanged_labels(samples, np.zeros(40, int), seed=0)
    rows = {tuple(row) for row in exchanged.reshape(10, 4)}
    assert rows == {(0, 0, 0, 0), (1, 1, 0, 0)} and exchanged.sum() == LABELS.sum()
    assert not np.array_equal(exchanged, LABELS)
    assert np.array_equal(exchanged, exchanged_labels(samples, np.zeros(40, int), seed=0))
    assert not np.array_equal(exchanged, exchanged_labels(samples, np.zeros(40, int), seed=1))


def test_a_random_partner_is_another_patient_of_the_same_view_and_only_where_there_was_one():
    views = ["CC", "MLO"] * 20
    records = SimpleNamespace(
        patients=PATIENTS, records=[SimpleNamespace(view=v) for v in views], sets=np.zeros(40, int)
    )
    partner = np.where(np.arange(40) % 4 < 2, np.arange(40) + 2, -1)
    folds = PATIENTS % 3
    found = random_partner(records, partner, folds, seed=0)
    assert np.array_equal(found < 0, partner < 0)
    for i in np.flatnonzero(found >= 0):
        assert PATIENTS[found[i]] != PATIENTS[i] and views[found[i]] == views[i]
        assert folds[found[i]] == folds[i]  # a read-out finds partners among those who are held out with it
    alone = random_partner(records, partner, PATIENTS, seed=0)
    assert (alone < 0).all()


def test_controls_of_several_sets_stay_within_each():
    """Otherwise the difference to a partner would be that of two sets' units, and each set's share of positives would go."""
    sets = (PATIENTS >= 6).astype(int)
    samples = Samples(tuple(map(str, range(40))), tuple(np.asarray([i]) for i in range(40)), LABELS, PATIENTS)
    exchanged = exchanged_labels(samples, sets, seed=0)
    for k in range(2):
        assert exchanged[sets == k].sum() == LABELS[sets == k].sum()
    records = SimpleNamespace(patients=PATIENTS, records=[SimpleNamespace(view="CC")] * 40, sets=sets)
    found = random_partner(records, np.arange(40), PATIENTS % 2, seed=0)
    assert np.array_equal(sets[found], sets)


def test_folds_drawn_image_by_image_part_patients_and_the_table_says_so(own_run, few_films, tmp_path):
    """The very run, the one control changed: its films are prepared and scanned already."""
    settings = own_run.settings
    crossval_settings = dataclasses.replace(settings.crossval, control="images", arms=("cells_bce",))
    data = dataclasses.replace(settings.data, prepared=str(own_run.directory / "prepared"))
    scan = dataclasses.replace(settings.scan, representations=str(own_run.directory / "representations"))
    leaking = dataclasses.replace(
        settings, run=str(tmp_path / "run"), crossval=crossval_settings, data=data, scan=scan
    )
    run = crossval(leaking, say=lambda line: None)
    patient = {str(record.number): record.patient for record in run.records.records}

    def shared_patients(cells):
        first, second = (
            {patient[row["record"]] for row in read_predictions(c.folder)}
            for c in cells
            if c.arm.name == "cells_bce"
        )
        return first & second

    assert shared_patients(run.cells) and not shared_patients(own_run.cells)
    said = []
    table, report = evaluate(run.directory, command="again", say=said.append)
    assert (
        "maps are left out: the networks of this control were trained on other films of the same women"
        in said
    )
    assert table.startswith("**This is a control, not a study: folds were drawn image by image")
    assert "a control, not a study" in report.read_text(encoding="utf-8").partition("</title>")[0]
    assert "control" not in evaluate(own_run.directory, command="again")[0]
    tested = external(run.directory, few_films(1, patients=4), say=lambda line: None)
    assert evaluate(tested, command="again")[0].startswith(
        "**This is a control, not a study: folds were drawn"
    )
