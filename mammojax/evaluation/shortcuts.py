"""Shortcuts looked for: can the label be told from how a film was taken, and does an arm hold within films taken alike?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mammojax.evaluation import bootstrap
from mammojax.evaluation.bootstrap import Estimate
from mammojax.evaluation.metrics import Ranking, area, measured
from mammojax.evaluation.predictions import Predictions


def facts_alone(facts: np.ndarray, like: Predictions) -> Predictions:
    """Out-of-fold predictions from acquisition facts alone, on the folds and repeats of `like`: an arm for the table.

    facts: float[m, k], a row for each record of `like` in rising order of its number: size, spacing, depth, what stands for
    density ...; NaN where unknown (the median stands in, and that it does is a fact of its own). Small boosted trees (scikit-learn), which find a group as well as a trend; fifty of at
    most four leaves, of at least ten films each. Their log-odds are the calibrated ones. Training folds of one class give
    everyone 0.
    Raises ValueError unless there is a row for each record.
    """
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    rows = _rows(like, facts)
    scores = np.zeros(len(like))
    for repeat in np.unique(like.repeats):
        here = like.repeats == repeat
        for fold in np.unique(like.folds[here]):
            train, held_out = here & (like.folds != fold), here & (like.folds == fold)
            if len(np.unique(like.labels[train])) < 2:
                continue
            model = make_pipeline(
                SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
                GradientBoostingClassifier(
                    n_estimators=50, max_leaf_nodes=4, min_samples_leaf=10, random_state=0
                ),
            )
            model.fit(rows[train], like.labels[train])
            scores[held_out] = model.decision_function(rows[held_out])
    return replace(like, scores=scores, calibrated=scores)


@dataclass(frozen=True)
class WithinGroups:
    """groups: name -> (AUC of its images, images, positives), the AUC undefined where a class is missing. together: the share
    of correctly ordered pairs of one group, over all groups: an AUC to which no difference between groups adds.
    """

    groups: dict[str, tuple[Estimate, int, int]]
    together: Estimate


def within_groups(
    predictions: Predictions, groups: Sequence, *, seed: int, resamples: int = 2000
) -> WithinGroups:
    """The AUC of an arm's images within groups of acquisition, mean over repeats, patient-clustered intervals.

    groups: a name for each record, in rising order of its number. Folds are ranked together, by calibrated log-odds.
    Raises ValueError unless there is a name for each record.
    """
    group = _rows(predictions, np.asarray(groups).astype(str))
    names, repeats = list(np.unique(group)), np.unique(predictions.repeats)
    ranked = []  # for each repeat, for each group: owners and ranking
    for repeat in repeats:
        parts = [np.flatnonzero((predictions.repeats == repeat) & (group == name)) for name in names]
        ranked.append(
            [
                (predictions.patients[part], Ranking(predictions.calibrated[part], predictions.labels[part]))
                for part in parts
            ]
        )

    def measure(weights: np.ndarray) -> np.ndarray:
        """float64[groups + 1, r]: the AUC of each group and of all, mean over repeats."""
        values = []
        for parts in ranked:
            counts = [ranking.called(weights[owner]) for owner, ranking in parts]
            areas = np.stack([measured(area, *called) for called in counts])
            pairs = np.stack([positives[-1] * negatives[-1] for positives, negatives in counts])
            wins, all_pairs = np.where(pairs > 0, areas, 0) * pairs, pairs.sum(axis=0)
            together = np.divide(
                wins.sum(axis=0), all_pairs, out=np.full(len(all_pairs), np.nan), where=all_pairs > 0
            )
            values.append(np.vstack([areas, together]))
        return bootstrap.mean_defined(np.stack(values))

    strata = bootstrap.strata(predictions.patients, predictions.folds, predictions.repeats)
    drawn = bootstrap.resampled(strata, entries=len(predictions), seed=seed, resamples=resamples)
    resampled = np.concatenate([measure(weights) for weights in drawn], axis=1)
    values = measure(np.ones((len(strata), 1)))[:, 0]
    estimates = [bootstrap.proportion(float(value), row) for value, row in zip(values, resampled)]
    first = predictions.of_repeat(repeats[0])
    labels, group = predictions.labels[first], group[first]
    return WithinGroups(
        groups={
            str(name): (estimate, int((group == name).sum()), int(labels[group == name].sum()))
            for name, estimate in zip(names, estimates)
        },
        together=estimates[-1],
    )


def _rows(predictions: Predictions, values: np.ndarray) -> np.ndarray:
    """The value of each entry's record."""
    numbers = np.unique(predictions.records)
    if len(values) != len(numbers):
        raise ValueError(f"{len(values)} rows for {len(numbers)} records; pass one a record, in rising order")
    return np.asarray(values)[np.searchsorted(numbers, predictions.records)]
