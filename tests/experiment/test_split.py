"""Splits: no patient on both sides of anything, and nothing that an order of files could change."""

import itertools

import numpy as np
import pytest

from mammojax.datasets.samples import Samples
from mammojax.errors import UserError
from mammojax.experiment.split import splits

PATIENTS = np.repeat(np.arange(24), [1, 2, 3, 4] * 6)
LABELS = ((PATIENTS % 3 == 0) & (np.arange(len(PATIENTS)) % 2 == 0)).astype(np.int32)
LABELS[np.unique(PATIENTS, return_index=True)[1]] |= (np.arange(24) % 3 == 0).astype(np.int32)


def samples(order=slice(None)):
    members = tuple(np.asarray([i]) for i in range(len(LABELS)))
    return Samples(tuple(map(str, range(len(LABELS)))), members, LABELS[order], PATIENTS[order])


def made(order=slice(None), *, repeat=0, seed=0):
    return splits(samples(order), folds=4, inner=3, seed=seed, repeat=repeat)


def test_every_sample_is_held_out_once_and_no_patient_is_on_both_sides():
    everything = made()
    held_out = np.concatenate([parts.held_out for parts in everything])
    assert sorted(held_out) == list(range(len(LABELS)))
    assert [parts.fold for parts in everything] == [0, 1, 2, 3]
    for parts in everything:
        assert sorted([*parts.train, *parts.held_out]) == list(range(len(LABELS)))
        assert not set(PATIENTS[parts.train]) & set(PATIENTS[parts.held_out])
        assert set(LABELS[parts.train]) == set(LABELS[parts.held_out]) == {0, 1}


def test_the_watched_parts_of_the_inner_folds_are_the_training_folds():
    for parts in made():
        assert len(parts.inner) == 3
        assert sorted(np.concatenate([watched for _, watched in parts.inner])) == list(parts.train)
        for fitted, watched in parts.inner:
            assert sorted([*fitted, *watched]) == list(parts.train)
            assert not set(PATIENTS[fitted]) & set(PATIENTS[watched])
            assert set(LABELS[fitted]) == set(LABELS[watched]) == {0, 1}


def folds_of(everything, order=slice(None)):
    return {int(p): parts.fold for parts in everything for p in PATIENTS[order][parts.held_out]}


def inner_of(everything, order=slice(None)):
    return [
        {int(p): k for k, (_, watched) in enumerate(parts.inner) for p in PATIENTS[order][watched]}
        for parts in everything
    ]


def test_the_order_of_the_samples_changes_nothing():
    order = np.random.default_rng(0).permutation(len(LABELS))
    assert folds_of(made(order), order) == folds_of(made())
    assert inner_of(made(order), order) == inner_of(made())


def test_repeats_and_seeds_draw_other_folds_and_the_same_ones_again():
    drawn = [made(), made(repeat=1), made(repeat=2), made(seed=1)]
    for a, b in itertools.combinations(drawn, 2):
        assert folds_of(a) != folds_of(b)
    assert folds_of(made(repeat=1)) == folds_of(drawn[1]) and inner_of(made(repeat=1)) == inner_of(drawn[1])
    assert {parts.repeat for parts in drawn[2]} == {2}


def test_more_folds_than_patients_of_a_class_are_an_error_that_counts_them():
    with pytest.raises(UserError, match="9 folds need .* got 8 patients of the smaller class"):
        splits(samples(), folds=9, inner=3, seed=0)


def test_inner_folds_that_cannot_be_drawn_name_their_own_setting():
    with pytest.raises(
        UserError, match="config.training.inner, inside what fold 0 trains on: 7 folds need .* got 6"
    ):
        splits(samples(), folds=4, inner=7, seed=0)
