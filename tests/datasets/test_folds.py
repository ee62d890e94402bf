"""Patient-wise stratified folds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammojax.datasets.folds import stratified_folds
from mammojax.errors import UserError


@st.composite
def data_sets(draw):
    sizes = draw(st.lists(st.integers(1, 5), min_size=20, max_size=60))
    positives = draw(st.integers(5, len(sizes) - 5))
    patients = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.concatenate(
        [np.arange(size) < (1 if k < positives else 0) for k, size in enumerate(sizes)]
    ).astype(int)
    return patients, labels


@settings(max_examples=20, deadline=None)
@given(data_sets(), st.integers(0, 1000))
def test_no_patient_is_in_two_folds_and_positive_patients_are_spread_evenly(data, seed):
    patients, labels = data
    fold_of = stratified_folds(patients, labels, folds=5, seed=seed)
    assert set(fold_of) == {0, 1, 2, 3, 4}
    for patient in np.unique(patients):
        assert len(set(fold_of[patients == patient])) == 1
    positive = [len(set(patients[(fold_of == k) & (labels == 1)])) for k in range(5)]
    assert max(positive) - min(positive) <= 1


@settings(max_examples=10, deadline=None)
@given(data_sets(), st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(data, random):
    patients, labels = data
    order = list(range(len(patients)))
    random.shuffle(order)
    plain = stratified_folds(patients, labels, folds=5, seed=1)
    assert np.array_equal(stratified_folds(patients[order], labels[order], folds=5, seed=1), plain[order])


def test_another_seed_gives_other_folds():
    patients, labels = np.arange(60), np.arange(60) % 3 == 0
    first, second = (stratified_folds(patients, labels, folds=5, seed=s) for s in (0, 1))
    assert not np.array_equal(first, second)


def test_too_few_positive_patients_are_an_error_that_counts_them():
    with pytest.raises(UserError, match="got 3 patients of the smaller class"):
        stratified_folds(np.arange(30), np.arange(30) < 3, folds=5, seed=0)
