"""The smooth average precision is its definition, and the average precision where it is sharp."""

import functools

import jax
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from mammojax.losses import average_precision_loss


def sample(size=60):
    rng = np.random.default_rng(0)
    labels = (rng.random(size) < 0.3).astype(np.int32)
    return (rng.permutation(size) / 8 + labels).astype(np.float32), labels, rng.uniform(0.5, 2, size)


def reference(scores, labels, weights, temperature):
    """By loops over the positives, float64."""
    s, w = scores.astype(np.float64), weights.astype(np.float64)
    p, total = np.flatnonzero(labels == 1), 0.0
    for i in p:
        higher = w / (1 + np.exp(-(s - s[i]) / temperature))
        among_p = w[i] + higher[p].sum() - higher[i]
        total += w[i] * among_p / (among_p + higher[labels == 0].sum())
    return 1 - total / w[p].sum()


@functools.cache
def program(temperature):
    loss = functools.partial(average_precision_loss, temperature=temperature)
    return jax.jit(jax.value_and_grad(lambda s, y, w, m: loss(s, y, weights=w, where=m)))


def test_value_and_slopes_are_those_of_the_definition():
    scores, labels, weights = sample()
    where = np.arange(60) % 5 > 0
    dirty = np.where(where, scores, np.nan).astype(np.float32)
    loss, gradient = program(0.5)(dirty, labels, weights.astype(np.float32), where)
    kept = [x[where] for x in (scores, labels, weights)]
    assert float(loss) == pytest.approx(reference(*kept, 0.5), rel=1e-5)
    slopes = np.zeros(60)
    for at, k in enumerate(np.flatnonzero(where)):  # central differences in float64: good to 1e-9
        step = np.zeros(len(kept[0]))
        step[at] = 1e-5
        up, down = (reference(kept[0] + sign * step, *kept[1:], 0.5) for sign in (1, -1))
        slopes[k] = (up - down) / 2e-5
    assert np.abs(gradient - slopes).max() < 1e-5 * np.abs(slopes).max()


def test_a_small_temperature_gives_the_average_precision():
    scores, labels, weights = sample()
    scores += np.linspace(0, 1e-2, 60).astype(np.float32)  # no ties
    ones = np.ones(60, np.float32)
    loss, _ = program(1e-4)(scores, labels, ones, ones > 0)
    assert 1 - float(loss) == pytest.approx(average_precision_score(labels, scores), abs=1e-5)


def test_without_a_positive_it_is_zero_and_a_nan_or_a_label_that_is_none_is_nan():
    scores, labels, weights = sample()
    ones = np.ones(60, np.float32)
    loss, gradient = program(0.5)(scores, 0 * labels, ones, ones > 0)
    assert float(loss) == 0 and (np.asarray(gradient) == 0).all()
    assert np.isnan(program(0.5)(scores, 2 * labels, ones, ones > 0)[0])
    scores[3] = np.nan
    assert np.isnan(program(0.5)(scores, labels, ones, ones > 0)[0])
