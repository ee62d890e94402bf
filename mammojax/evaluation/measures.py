"""All metrics of one arm at one level: of the data, and of resamples of their patients.

A repeat is measured by itself, as each drawing of the folds has networks of its own; what is reported is the mean over
repeats. Where a fold lacks a class, in the data or in a resample, it has no AUC and is left out of the mean over folds,
in all arms alike.
"""

import numpy as np

from mammojax.evaluation.bootstrap import mean_defined
from mammojax.evaluation.metrics import METRICS, Ranking, area, measured
from mammojax.evaluation.predictions import Scored


class Measures:
    """`METRICS` of one `Scored`, its rankings found once.

    folds: repeat -> fold -> AUC, NaN where a class is missing.
    """

    def __init__(self, scored: Scored):
        self._patients = int(scored.patients.max()) + 1
        self._repeats = []
        self.folds: dict[int, dict[int, float]] = {}
        for repeat in map(int, np.unique(scored.repeats)):
            here = np.flatnonzero(scored.repeats == repeat)
            parts = {int(k): here[scored.folds[here] == k] for k in np.unique(scored.folds[here])}
            ranked = [
                (scored.patients[part], Ranking(scored.scores[part], scored.labels[part]))
                for part in (here, *parts.values())
            ]
            self._repeats.append(ranked)
            once = np.ones((self._patients, 1))
            self.folds[repeat] = {
                k: float(ranking.measure(area, once[owner])[0])
                for k, (owner, ranking) in zip(parts, ranked[1:])
            }

    def of_data(self) -> dict[str, np.ndarray]:
        """float64[repeats] by metric: each as it is in the data."""
        return {name: values[:, 0] for name, values in self._values(np.ones((self._patients, 1))).items()}

    def of_resamples(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """float64[r] by metric: the mean over repeats in each of r resamples, NaN where it is not defined.

        weights: float64[p, r], how often each patient is drawn.
        """
        return {name: mean_defined(values) for name, values in self._values(weights).items()}

    def _values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """float64[repeats, r] by metric."""
        return {
            name: np.stack(rows)
            for name, rows in _transposed(self._of_repeat(r, weights) for r in self._repeats)
        }

    @staticmethod
    def _of_repeat(ranked: list, weights: np.ndarray) -> dict[str, np.ndarray]:
        whole, *folds = [ranking.called(weights[owner]) for owner, ranking in ranked]
        return {
            name: mean_defined(np.stack([measured(metric.of, *fold) for fold in folds]))
            if metric.by_fold
            else measured(metric.of, *whole)
            for name, metric in METRICS.items()
        }


def _transposed(rows) -> list[tuple[str, list]]:
    rows = list(rows)
    return [(name, [row[name] for row in rows]) for name in rows[0]]
