"""What the held-out scores of all losses say: AUC and sensitivity by the positives that were left, and paired differences.

Every fold is ranked by itself: its networks share no scale with those of others, and pair losses fix none. The mean is over
folds and draws. Intervals are of resampled patients (inside folds) and resampled draws together: what other women, other
positives left and other starts would change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mammojax.evaluation import bootstrap
from mammojax.evaluation.bootstrap import Estimate
from mammojax.evaluation.metrics import Ranking, area, measured, sensitivity_at
from mammojax.seeds import stream

MEASURES = {"auc": area, "sensitivity_at_90": sensitivity_at(0.90)}


@dataclass(frozen=True, eq=False)
class HeldOut:
    """One held-out fold. labels, patients: int[m], patients numbered over all folds. scores: loss -> float[shares, draws, m]."""

    labels: np.ndarray
    patients: np.ndarray
    scores: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Row:
    """One loss at one share of the positives. By the names of `MEASURES`: estimates; spread, the standard deviation over
    draws (ddof = 1, of the mean over folds); differences, this loss minus another one, by its name."""

    estimates: dict[str, Estimate]
    spread: dict[str, float]
    differences: dict[str, dict[str, Estimate]]


def summarise(
    folds: Sequence[HeldOut], *, references: Sequence[str], seed: int, resamples: int
) -> dict[str, list[Row]]:
    """By loss, one `Row` a share. references: the losses that differences are taken to."""
    names = list(folds[0].scores)
    shares, draws, _ = folds[0].scores[names[0]].shape
    numbers = np.concatenate([fold.patients for fold in folds])
    fold_of = np.concatenate([np.full(len(fold.patients), k) for k, fold in enumerate(folds)])
    group = np.zeros(numbers.max() + 1, int)
    group[numbers] = fold_of
    once = np.ones((len(group), 1))
    weights = np.concatenate(
        [*bootstrap.resampled(group, entries=len(numbers), seed=seed, resamples=resamples)], axis=1
    )
    generator = np.random.default_rng(stream(seed, "imbalance", "draws"))
    times = generator.multinomial(draws, np.full(draws, 1 / draws), size=resamples).T / draws

    def measure(name: str, share: int, drawn: np.ndarray) -> dict[str, np.ndarray]:
        """float64[draws, r] by measure: the mean over folds. drawn: float64[patients, r]."""
        found = {m: np.empty((draws, len(folds), drawn.shape[1])) for m in MEASURES}
        for k, fold in enumerate(folds):
            for draw in range(draws):
                counts = Ranking(fold.scores[name][share, draw], fold.labels).called(drawn[fold.patients])
                for m, of in MEASURES.items():
                    found[m][draw, k] = measured(of, *counts)
        return {m: bootstrap.mean_defined(np.moveaxis(values, 1, 0)) for m, values in found.items()}

    rows: dict[str, list[Row]] = {name: [] for name in names}
    for share in range(shares):
        data = {name: measure(name, share, once) for name in names}
        value = {name: {m: float(d.mean()) for m, d in data[name].items()} for name in names}
        samples = {
            name: {m: (d * times).sum(0) for m, d in measure(name, share, weights).items()} for name in names
        }
        for name in names:
            estimates = {m: bootstrap.proportion(value[name][m], samples[name][m]) for m in MEASURES}
            spread = {m: float(d[:, 0].std(ddof=1)) if draws > 1 else 0.0 for m, d in data[name].items()}
            differences = {
                other: {
                    m: bootstrap.difference(
                        value[name][m] - value[other][m], samples[name][m] - samples[other][m]
                    )
                    for m in MEASURES
                }
                for other in references
                if other in names and other != name
            }
            rows[name].append(Row(estimates, spread, differences))
    return rows
