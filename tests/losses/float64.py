"""The pairwise losses by their definition: every pair, numpy, float64."""

import numpy as np


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def sigma(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


# (value, slope) of what a pair sees
PAIRS = {
    "logistic": (softplus, sigma),
    "sigmoid": (sigma, lambda x: np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))) ** 2),
    "hinge": (lambda x: np.maximum(1 + x, 0), lambda x: (1 + x > 0) * 1.0),
    "squared_hinge": (lambda x: np.maximum(1 + x, 0) ** 2, lambda x: 2 * np.maximum(1 + x, 0)),
    "square": (lambda x: (1 + x) ** 2, lambda x: 2 * (1 + x)),
}


def all_pairs(scores, labels, weights=None, surrogate="logistic", margin=0.0, temperature=1.0):
    """(loss, gradient): float64, float64[n]."""
    value, slope = PAIRS[surrogate]
    scores = np.asarray(scores, np.float64)
    weights = np.ones_like(scores) if weights is None else np.asarray(weights, np.float64)
    p, n = labels == 1, labels == 0
    loss, gradient = 0.0, np.zeros_like(scores)
    total = weights[p].sum() * weights[n].sum()
    for rows in np.array_split(np.flatnonzero(p), max(1, p.sum() // 500)):
        x = (scores[n][None] - scores[rows][:, None] + margin) / temperature
        pair = weights[rows][:, None] * weights[n][None] / total
        slopes = pair * slope(x) / temperature
        loss += (pair * value(x)).sum()
        gradient[rows] = -slopes.sum(1)
        gradient[n] += slopes.sum(0)
    return loss, gradient


def worst(gradient, expected):
    """The largest relative error of an element; those under 1e-30 are aside."""
    keep = np.abs(expected) > 1e-30
    return np.max(
        np.abs(np.asarray(gradient, np.float64) - expected)[keep] / np.abs(expected)[keep], initial=0
    )
