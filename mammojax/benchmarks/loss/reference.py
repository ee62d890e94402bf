"""The pairwise loss and its gradient in float64, by numpy alone: what the implementations are measured against.

Nothing here is shared with `mammojax.losses`, neither code nor method. Up to `ALL_PAIRS` pairs are added one by one.
Beyond, the hinges and the square come from sorted scores and running sums, which is exact; logistic and sigmoid from
interpolation: in cells of one unit a score is replaced by weights at 16 Chebyshev nodes, and the surrogate is evaluated
between nodes (Fong and Darve 2009). Its nearest singularity is pi away, so the error falls by 12 a node: 1e-16.
"""

from typing import NamedTuple

import numpy as np

ALL_PAIRS = 10**8
NEGLIGIBLE = 1e-30  # a gradient element below it has no relative error
_NODES = 16
_REACH = 90  # cells that count one by one: exp(-90) = 8e-40, beside gradients down to 1e-30
_AT_ONCE = 1 << 16  # scores: their polynomials stay in the cache


class Reference(NamedTuple):
    """loss: the mean over pairs. gradient: float64[n], by every score. method: how they were computed."""

    loss: float
    gradient: np.ndarray
    method: str


def reference(
    scores: np.ndarray, labels: np.ndarray, surrogate: str = "logistic", *, all_pairs: int = ALL_PAIRS
) -> Reference:
    """The mean of surrogate(n - p) over all pairs of a positive p and a negative n, and its gradient.

    scores: float[n], finite. labels: int[n] in {0, 1}, both present. surrogate: as in `pairwise_auc_loss`, margin 0 and
    temperature 1. all_pairs: up to how many pairs are added one by one.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    p, n = scores[labels == 1], scores[labels == 0]
    pairs = p.size * n.size
    if pairs <= all_pairs:
        sums, method = _all_pairs, "all pairs"
    elif surrogate in ("logistic", "sigmoid"):
        sums, method = _interpolated, "interpolation"
    else:
        sums, method = _sorted, "sorting"
    total, by_p, by_n = sums(p, n, surrogate)
    gradient = np.empty_like(scores)
    gradient[labels == 1], gradient[labels == 0] = by_p / pairs, by_n / pairs
    return Reference(total / pairs, gradient, method)


def aum(scores: np.ndarray, labels: np.ndarray) -> Reference:
    """The area under the minimum of the false positive and false negative rates over the thresholds between the scores, and
    its gradient where no scores tie: Hillman and Hocking 2023 ("Optimizing ROC curves with a sort-based surrogate loss", JMLR
    24), each sample one change point."""
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    ends = np.unique(scores)
    p, n = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    missed = np.searchsorted(p, ends, side="right") / p.size
    raised = 1 - np.searchsorted(n, ends, side="right") / n.size
    least = np.minimum(missed, raised)[:-1]
    steps = np.concatenate([[0.0], least]) - np.concatenate([least, [0.0]])
    gradient = steps[np.searchsorted(ends, scores)]
    return Reference(float(np.sum(np.diff(ends) * least)), gradient, "thresholds")


def relative_errors(loss: float, gradient: np.ndarray, truth: Reference) -> tuple[float, float, float]:
    """Relative errors: of the loss, of the gradient as a vector, of its worst element above `NEGLIGIBLE`."""
    off = np.abs(gradient - truth.gradient)
    counted = np.abs(truth.gradient) > NEGLIGIBLE
    return (
        abs(loss - truth.loss) / (truth.loss or 1),
        float(np.linalg.norm(off) / (np.linalg.norm(truth.gradient) or 1)),
        float(np.max(off[counted] / np.abs(truth.gradient[counted]), initial=0)),
    )


def _value_and_slope(d, surrogate):
    if surrogate in ("logistic", "sigmoid"):
        e = np.exp(-np.abs(d))
        sigma = np.where(d < 0, e, 1) / (1 + e)
        return (
            (np.maximum(d, 0) + np.log1p(e), sigma) if surrogate == "logistic" else (sigma, e / (1 + e) ** 2)
        )
    reach = 1 + d if surrogate == "square" else np.maximum(0, 1 + d)
    return (reach, (1 + d > 0).astype(float)) if surrogate == "hinge" else (reach**2, 2 * reach)


def _all_pairs(p, n, surrogate):
    rows = max(1, 10**6 // n.size)
    total, by_p, by_n = 0.0, np.empty_like(p), np.zeros_like(n)
    for start in range(0, p.size, rows):
        value, slope = _value_and_slope(n - p[start : start + rows, None], surrogate)
        total += value.sum()
        by_p[start : start + rows] = -slope.sum(axis=1)
        by_n += slope.sum(axis=0)
    return total, by_p, by_n


def _sorted(p, n, surrogate):
    """Running sums of powers over the sorted other class: a polynomial a score."""

    def potentials(x, sources, sign):
        """Sums of value and slope of 1 + sign (source - x) over the sources that count."""
        order = np.sort(sign * sources)[::-1].astype(np.longdouble)
        middle = order[order.size // 2]  # offsets are small numbers, whatever the offset of the scores
        order, x = order - middle, 1 - (sign * x - middle).astype(np.longdouble)
        counted = order.size - np.searchsorted(order[::-1], -x, side="right")
        if surrogate == "square":
            counted = np.full(x.size, order.size)
        zeroth, first, second = (
            np.concatenate([[0], np.cumsum(order**k)]).astype(np.longdouble)[counted] for k in (0, 1, 2)
        )
        reach = zeroth * x + first
        if surrogate == "hinge":
            return reach, zeroth
        return zeroth * x**2 + 2 * x * first + second, 2 * reach

    value, slope = potentials(p, n, 1)
    return float(value.sum()), -slope.astype(float), potentials(n, p, -1)[1].astype(float)


def _interpolated(p, n, surrogate):
    positives, negatives = _Cells(p), _Cells(n)
    value, by_p = positives.fields(negatives, 1, surrogate)
    total = float(np.sum(value * positives.weights))
    by_n = negatives.fields(positives, -1, surrogate)[1]
    return total, -positives.evaluated(by_p), negatives.evaluated(by_n)


class _Cells:
    """Scores of one class in cells of one unit, as weights at the Chebyshev nodes of the occupied cells."""

    def __init__(self, scores):
        self.order = np.argsort(scores, kind="stable")
        ordered = scores[self.order]
        which = np.floor(ordered)
        self.starts = np.flatnonzero(np.diff(which, prepend=which[0] - 1))
        self.left = which[self.starts]
        self.counts = np.diff(self.starts, append=scores.size)
        self.sums = np.add.reduceat(ordered, self.starts)
        self.t = 2 * (ordered - which) - 1  # in [-1, 1]
        angles = np.pi * (np.arange(_NODES) + 0.5) / _NODES
        # a Lagrange polynomial in Chebyshev polynomials: l_k(t) = sum over r of basis[r, k] T_r(t)
        self.basis = (
            np.cos(np.arange(_NODES)[:, None] * angles)
            * np.where(np.arange(_NODES) == 0, 1, 2)[:, None]
            / _NODES
        )
        self.nodes = self.left[:, None] + (np.cos(angles) + 1) / 2
        moments = np.empty((self.left.size, _NODES))
        before, now = np.ones_like(self.t), self.t
        for r in range(_NODES):
            moments[:, r] = np.add.reduceat(before, self.starts)
            before, now = now, 2 * self.t * now - before
        self.weights = moments @ self.basis

    def fields(self, sources, sign, surrogate):
        """(values, slopes) at the nodes: sums of the surrogate of sign (source - node) over the sources."""
        first = np.searchsorted(sources.left, self.left - _REACH)
        last = np.searchsorted(sources.left, self.left + _REACH, side="right")
        values, slopes = np.empty_like(self.nodes), np.empty_like(self.nodes)
        counts, sums = (np.concatenate([[0], np.cumsum(x)]) for x in (sources.counts, sources.sums))
        for i, (a, b) in enumerate(zip(first, last)):
            d = sign * (sources.nodes[a:b].ravel() - self.nodes[i][:, None])
            values[i], slopes[i] = (x @ sources.weights[a:b].ravel() for x in _value_and_slope(d, surrogate))
            # sources so far on the wrong side that the surrogate is at its asymptote
            count, total = (x[-1] - x[b] if sign > 0 else x[a] for x in (counts, sums))
            values[i] += sign * (total - count * self.nodes[i]) if surrogate == "logistic" else count
            slopes[i] += count if surrogate == "logistic" else 0
        return values, slopes

    def evaluated(self, fields):
        """float64[n]: a field at the scores, in their own order."""
        coefficients = fields @ self.basis.T
        ordered = np.empty_like(self.t)
        cell = np.repeat(np.arange(self.left.size), self.counts)
        for start in range(0, self.t.size, _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            ordered[part] = np.polynomial.chebyshev.chebval(
                self.t[part], coefficients[cell[part]].T, tensor=False
            )
        result = np.empty_like(ordered)
        result[self.order] = ordered
        return result
