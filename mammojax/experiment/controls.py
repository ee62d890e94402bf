"""Controls: what a table shows where nothing can be learnt, where the other breast is another woman's, or where folds leak.

- "labels": the labels are exchanged between patients, whole patients at a time. Honest folds give an AUC of 0.5 within its
  interval; more is a leak.
- "partner": the other breast is that of a random other patient of the same fold, of the same view where there is one.
  What a real partner adds beyond that is the woman's own.
- "images": folds are drawn image by image, as in much published work: other films of the women who are held out were
  trained on. What it shows above the patient-wise table is leakage.
"""

import dataclasses

import numpy as np

from mammojax.datasets.record import RecordSet
from mammojax.datasets.samples import Samples
from mammojax.seeds import stream


def exchanged_labels(samples: Samples, sets: np.ndarray, *, seed: int) -> np.ndarray:
    """int32[n]: the labels of every patient replaced by those of another one of the same set drawn without replacement; a
    patient with more samples than the other takes its labels in turn. sets: int[n], of which of several sets a sample is."""
    rng = np.random.default_rng(stream(seed, "control", "labels"))
    labels = samples.labels.copy()
    for k in np.unique(sets):
        patients = np.unique(samples.patients[sets == k])
        for mine, other in zip(patients, rng.permutation(patients)):
            own = np.flatnonzero(samples.patients == mine)
            theirs = samples.labels[samples.patients == other]
            labels[own] = np.resize(theirs, len(own))
    return labels


def image_by_image(samples: Samples) -> Samples:
    """The same samples as if each were of a patient of its own, which is what folds that leak take them for."""
    return dataclasses.replace(samples, patients=np.arange(len(samples), dtype=np.int64))


def random_partner(records: RecordSet, partner: np.ndarray, folds: np.ndarray, *, seed: int) -> np.ndarray:
    """int64[n]: where a record has a partner, a record of a random other patient of its fold and set, of the same view if there
    is one; none where those have one patient alone. folds: int[n]. Who is held out is read with others who are."""
    rng = np.random.default_rng(stream(seed, "control", "partner"))
    patients, views = records.patients, np.asarray([r.view for r in records.records])
    found = partner.copy()
    for i in np.flatnonzero(partner >= 0):
        others = np.flatnonzero(
            (patients != patients[i]) & (folds == folds[i]) & (records.sets == records.sets[i])
        )
        alike = others[views[others] == views[i]]
        found[i] = rng.choice(alike if len(alike) else others) if len(others) else -1
    return found
