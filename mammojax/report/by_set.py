"""The results of each of several sets that were trained together: the figures to read of such a run.

In one table over all sets an arm gains by telling the sets apart, where one has more positives than another.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mammojax.evaluation.predictions import LEVELS, Predictions
from mammojax.report.findings import Finding
from mammojax.report.summary import summarise
from mammojax.report.table import plain, written

NOTE = (
    "The same networks, trained on the training folds of all sets together, each set's channels in units of its own; measured "
    "on the held-out films of one set. AUC, mean over folds; in brackets 95% intervals from resampled patients."
)


def by_set(
    predictions: Mapping[str, Predictions],
    sets: Mapping[str, Sequence[int]],
    *,
    titles: Mapping[str, str],
    proposed: str,
    seed: int,
    resamples: int,
) -> Finding:
    """AUC of every arm at every level on each set by itself. sets: {name: numbers of its records}."""
    lines, values = [], {}
    for name, numbers in sets.items():
        own = {arm: _of(p, numbers) for arm, p in predictions.items()}
        summary = summarise(own, proposed=proposed, seed=seed, resamples=resamples)
        for arm, levels in summary.arms.items():
            found = {level: levels[level].estimates["mean"] for level in LEVELS}
            lines.append((name, titles[arm], *(written(found[level]) for level in LEVELS)))
            values.setdefault(name, {})[arm] = {
                level: dataclasses.asdict(value) for level, value in found.items()
            }
    heads = ("Set", "Arm", *(level.capitalize() for level in LEVELS))
    return Finding("Results a set", heads, tuple(lines), NOTE, plain(values))


def _of(predictions: Predictions, numbers: Sequence[int]) -> Predictions:
    chosen = np.isin(predictions.records, list(numbers))
    return Predictions(
        **{f.name: getattr(predictions, f.name)[chosen] for f in dataclasses.fields(predictions)}
    )
