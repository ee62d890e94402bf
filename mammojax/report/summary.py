"""The table's numbers: every arm at three levels with patient-clustered intervals, and paired differences of arms.

Everything is measured on calibrated log-odds. Within a fold they rank as its network's logits; between folds logits cannot
be compared, since each fold is another network and a score that was trained for its order has neither scale nor offset of
its own. See `evaluation.predictions` for the levels, `metrics` for what is measured, `bootstrap` for the intervals.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mammojax.evaluation import bootstrap
from mammojax.evaluation.bootstrap import Estimate
from mammojax.evaluation.measures import Measures
from mammojax.evaluation.metrics import METRICS
from mammojax.evaluation.predictions import LEVELS, Predictions, Scored, at_level


@dataclass(frozen=True)
class LevelSummary:
    """One arm at one level.

    estimates: by the names of `METRICS`, each the mean over repeats. folds: repeat -> fold -> AUC, NaN where a class is
    missing. folds_sd: standard deviation (ddof = 1) of the folds' AUC, the mean over repeats. repeats_sd: standard
    deviation (ddof = 1) over repeats of their mean AUC over folds, NaN for one repeat: what other folds and seeds change
    on the same patients, whereas an interval is about other patients. samples: images, breasts or patients of a
    repeat.
    """

    estimates: dict[str, Estimate]
    folds: dict[int, dict[int, float]]
    folds_sd: float
    repeats_sd: float
    samples: int
    positives: int
    patients: int
    positive_patients: int


@dataclass(frozen=True)
class Summary:
    """All arms side by side.

    arms: arm -> level -> what it reaches. differences: arm -> level -> metric -> the proposed arm's minus this arm's, on the
    same resamples; empty if the proposed arm is not among the arms. discarded: by level, resamples in which no fold
    holds both classes.
    """

    arms: dict[str, dict[str, LevelSummary]]
    proposed: str
    differences: dict[str, dict[str, dict[str, Estimate]]]
    repeats: int
    resamples: int
    discarded: dict[str, int]
    seed: int


def summarise(
    predictions: Mapping[str, Predictions], *, proposed: str, seed: int, resamples: int = 2000
) -> Summary:
    """The summary of out-of-fold predictions by arm.

    The result depends neither on the order of arms or rows nor on the names of patients. All levels, arms and repeats see
    the same resamples.
    Raises ValueError unless all arms hold the same records with the same patients, breasts, folds, repeats and labels.
    """
    if not predictions:
        raise ValueError("no arms to summarise; pass at least one")
    _same_study(predictions)
    levels = {level: {arm: at_level(p, level) for arm, p in predictions.items()} for level in LEVELS}
    measures = {level: {arm: Measures(s) for arm, s in arms.items()} for level, arms in levels.items()}
    first = next(iter(predictions.values()))
    group = bootstrap.strata(first.patients, first.folds, first.repeats)
    drawn = {level: {arm: [] for arm in predictions} for level in LEVELS}
    for weights in bootstrap.resampled(group, entries=len(first), seed=seed, resamples=resamples):
        for level, arms in measures.items():
            for arm, measure in arms.items():
                drawn[level][arm].append(measure.of_resamples(weights))
    values, samples = {}, {}
    for level, arms in measures.items():
        values[level] = {arm: measure.of_data() for arm, measure in arms.items()}
        samples[level] = {arm: _joined(chunks) for arm, chunks in drawn[level].items()}
    arms = {
        arm: {
            level: _level_summary(
                levels[level][arm], measures[level][arm], values[level][arm], samples[level][arm]
            )
            for level in LEVELS
        }
        for arm in predictions
    }
    differences = {
        arm: {
            level: {
                name: bootstrap.difference(
                    _mean(values[level][proposed][name]) - _mean(values[level][arm][name]),
                    samples[level][proposed][name] - samples[level][arm][name],
                )
                for name in METRICS
            }
            for level in LEVELS
        }
        for arm in predictions
        if proposed in predictions and arm != proposed
    }
    # a matter of the labels: the same in all arms
    discarded = {level: int(np.isnan(next(iter(samples[level].values()))["mean"]).sum()) for level in LEVELS}
    return Summary(arms, proposed, differences, len(np.unique(first.repeats)), resamples, discarded, seed)


def _same_study(predictions: Mapping[str, Predictions]) -> None:
    first, *others = predictions.values()
    if not len(first):
        raise ValueError("the arms hold no predictions")
    for name in ("repeats", "records", "patients", "breasts", "folds", "labels"):
        if any(not np.array_equal(getattr(first, name), getattr(other, name)) for other in others):
            raise ValueError(f"the arms differ in their {name}; differences are paired and need the same")


def _level_summary(scored: Scored, measures: Measures, values: dict, samples: dict) -> LevelSummary:
    here = scored.repeats == scored.repeats[0]
    positive = here & (scored.labels == 1)
    spreads = np.asarray([_deviation(list(folds.values())) for folds in measures.folds.values()])
    return LevelSummary(
        estimates={name: bootstrap.proportion(_mean(values[name]), samples[name]) for name in METRICS},
        folds=measures.folds,
        folds_sd=_mean(spreads),
        repeats_sd=_deviation(values["mean"]),
        samples=int(here.sum()),
        positives=int(positive.sum()),
        patients=len(np.unique(scored.patients[here])),
        positive_patients=len(np.unique(scored.patients[positive])),
    )


def _joined(chunks: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _mean(values: np.ndarray) -> float:
    return float(bootstrap.mean_defined(values))


def _deviation(values) -> float:
    values = np.asarray(values)
    values = values[~np.isnan(values)]
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan
