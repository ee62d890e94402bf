"""Controls keep what they should and exchange what they say."""

from types import SimpleNamespace

import numpy as np

from mammojax.datasets.samples import Samples
from mammojax.experiment.controls import exchanged_labels, random_partner

PATIENTS = np.repeat(np.arange(10), 4)
LABELS = (np.isin(PATIENTS, (1, 4, 7)) & (np.arange(40) % 4 < 2)).astype(np.int32)


def test_labels_go_from_patient_to_patient_whole():
    samples = Samples(tuple(map(str, range(40))), tuple(np.asarray([i]) for i in range(40)), LABELS, PATIENTS)
    exchanged = exchanged_labels(samples, seed=0)
    rows = {tuple(row) for row in exchanged.reshape(10, 4)}
    assert rows == {(0, 0, 0, 0), (1, 1, 0, 0)} and exchanged.sum() == LABELS.sum()
    assert not np.array_equal(exchanged, LABELS)
    assert np.array_equal(exchanged, exchanged_labels(samples, seed=0))
    assert not np.array_equal(exchanged, exchanged_labels(samples, seed=1))


def test_a_random_partner_is_another_patient_of_the_same_view_and_only_where_there_was_one():
    views = ["CC", "MLO"] * 20
    records = SimpleNamespace(patients=PATIENTS, records=[SimpleNamespace(view=v) for v in views])
    partner = np.where(np.arange(40) % 4 < 2, np.arange(40) + 2, -1)
    folds = PATIENTS % 3
    found = random_partner(records, partner, folds, seed=0)
    assert np.array_equal(found < 0, partner < 0)
    for i in np.flatnonzero(found >= 0):
        assert PATIENTS[found[i]] != PATIENTS[i] and views[found[i]] == views[i]
        assert folds[found[i]] == folds[i]  # a read-out finds partners among those who are held out with it
    alone = random_partner(records, partner, PATIENTS, seed=0)
    assert (alone < 0).all()
