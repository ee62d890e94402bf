"""The pointing game and the free-response curve against counting by hand and against chance."""

import dataclasses

import numpy as np
import pytest

from mammojax.evaluation.localisation import (
    Film,
    by_chance,
    free_response,
    inside,
    marks,
    pointed,
    pointing_game,
)

CELL = 32


def film(scores, *, record=0, patient=None, circles=(), where=None):
    """A map of square cells of 32 pixels, the first cell's centre at (15.5, 15.5)."""
    scores = np.asarray(scores, float)
    rows, columns = scores.shape
    centres = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1) * CELL + 15.5
    where = np.ones(scores.shape, bool) if where is None else where
    return Film(
        record,
        record if patient is None else patient,
        scores,
        where,
        centres,
        np.reshape(circles, (-1, 3)),
        CELL / 2,
    )


def at(row, column, radius):
    return (row * CELL + 15.5, column * CELL + 15.5, radius)


def test_a_cell_is_inside_up_to_half_a_cell_beyond_the_circle():
    zeros = np.zeros((5, 5))
    assert inside(film(zeros, circles=[at(2, 2, 15.9)]))[0].sum() == 1
    assert inside(film(zeros, circles=[at(2, 2, 16.0)]))[0].sum() == 5  # the four beside it, 32 pixels away
    assert inside(film(zeros, circles=[at(2, 2, 16.0), at(0, 0, 1)])).sum(axis=(1, 2)).tolist() == [5, 1]


def test_the_highest_tissue_cell_decides_and_ties_count_by_their_share():
    scores = np.zeros((4, 4))
    scores[1, 1], scores[3, 3] = 2.0, 5.0
    off = np.ones((4, 4), bool)
    off[3, 3] = False
    circle = [at(1, 1, 1)]
    assert pointed(film(scores, circles=circle)) == 0
    assert pointed(film(scores, circles=circle, where=off)) == 1  # what lies off the breast does not count
    scores[3, 3] = 2.0
    assert pointed(film(scores, circles=circle)) == 0.5
    assert by_chance(film(scores, circles=circle, where=off)) == pytest.approx(1 / 15)


def lottery(rng, n, *, helped=0):
    """Films of random scores with one lesion of 3 x 3 cells; in the first `helped` the lesion's centre is highest."""
    films = []
    for k in range(n):
        scores = rng.normal(size=(12, 10))
        row, column = rng.integers(1, 11), rng.integers(1, 9)
        if k < helped:
            scores[row, column] = 9
        films.append(film(scores, record=k, patient=k // 2, circles=[at(row, column, 32)]))
    return films


def test_random_maps_point_as_often_as_chance_and_the_interval_says_so():
    game = pointing_game(lottery(np.random.default_rng(0), 400), seed=0, resamples=500)
    assert game.films == 400 and game.chance.value == pytest.approx(9 / 120, abs=1e-12)
    assert game.above_chance.low < 0 < game.above_chance.high
    assert game.rate.low < 9 / 120 < game.rate.high


def test_maps_that_know_are_above_chance_by_the_share_that_they_know():
    game = pointing_game(lottery(np.random.default_rng(0), 100, helped=40), seed=0, resamples=500)
    # 40 for certain, of 60 others 4.5 by chance with a standard deviation of 2
    assert game.hits == pytest.approx(44.5, abs=6) and game.rate.value == game.hits / 100
    assert game.above_chance.low > 0.2 and game.rate.low > game.chance.high


def test_no_order_and_no_name_changes_a_bit():
    films = lottery(np.random.default_rng(1), 30, helped=9)
    renamed = [dataclasses.replace(f, patient=f"p{97 * f.patient % 31}") for f in reversed(films)]
    for measure in (pointing_game, free_response):
        one, two = (measure(given, seed=0, resamples=60) for given in (films, renamed))
        assert repr(one) == repr(two)


def test_the_interval_is_about_patients_not_films():
    films = lottery(np.random.default_rng(2), 40, helped=16)
    copies = [dataclasses.replace(f, record=f.record + 100 * k) for f in films for k in range(4)]
    one, four = (pointing_game(given, seed=0, resamples=300).rate for given in (films, copies))
    assert (four.low, four.high) == pytest.approx((one.low, one.high), abs=1e-12)


def test_films_without_circle_or_tissue_are_no_part_of_the_game():
    films = [film(np.eye(3)), film(np.eye(3), record=1, circles=[at(0, 0, 1)], where=np.zeros((3, 3), bool))]
    game = pointing_game(films, seed=0, resamples=20)
    assert game.films == 0 and np.isnan(game.rate.value)


def test_marks_are_the_local_maxima_on_tissue():
    scores = np.array([[1, 0, 0, 4], [0, 0, 0, 0], [0, 3, 0, 2], [0, 0, 0, 0]], float)
    where = np.ones((4, 4), bool)
    where[0, 3] = False
    assert np.argwhere(marks(film(scores, where=where)) & (scores > 0)).tolist() == [[0, 0], [2, 1], [2, 3]]


def test_the_free_response_curve_is_that_of_counting():
    # film 0: lesions marked at 5 and 1, false marks 4 and 2; film 1: a lesion that nothing marks, false 3; film 2: normal
    def peaks(**at_cell):
        scores = np.full((9, 9), -9.0) + np.linspace(0, 0.1, 81).reshape(9, 9)
        for place, value in at_cell.items():
            scores[int(place[1]), int(place[2])] = value
        return scores

    where = np.ones((9, 9), bool)
    films = [
        film(peaks(c11=5, c17=1, c71=4, c74=2), circles=[at(1, 1, 1), at(1, 7, 1)], where=where, record=0),
        film(peaks(c11=3), circles=[at(5, 5, 1)], record=1),
        film(peaks(c44=2.5), record=2),
    ]
    found = free_response(films, seed=0, resamples=50, false_marks=(0.0, 1 / 3, 2 / 3, 4 / 3))
    assert (found.films, found.lesions) == (3, 3)
    values = [estimate.value for estimate in found.sensitivity.values()]
    assert values == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3])
    false, true = found.curve
    # thresholds 5, 4, 3, 2.5, 2, 1 and the corners of the films' own slope below
    assert false[:7] * 3 == pytest.approx([0, 0, 1, 2, 3, 4, 4]) and true[:7] * 3 == pytest.approx(
        [0, 1, 1, 1, 1, 1, 2]
    )
    assert true[-1] == pytest.approx(2 / 3)  # a lesion without a mark is found at no threshold


@pytest.mark.filterwarnings("error")
def test_films_without_any_lesion_have_no_sensitivity():
    found = free_response([film(np.eye(4), record=k) for k in range(3)], seed=0, resamples=10)
    assert found.lesions == 0 and all(np.isnan(e.value) for e in found.sensitivity.values())
