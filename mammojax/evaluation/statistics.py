"""AUC over folds and pooled, with patient-clustered bootstrap intervals and paired differences between arms.

Images of a patient are not independent, so patients are resampled, never images. They are resampled with
replacement *inside each fold*: a fold is scored by its own network, and the size of a fold was fixed by the
split, not drawn. The label is not a stratum: a fold holds few positive patients, and resampling three
patients among themselves understates their variance by a third. The intervals are about the trained networks
on other patients of the same kind; they do not hold what another seed of the training would change.

A resample may lack a class in a fold. That fold then has no AUC and is left out of the resample's mean over
folds, in all arms alike; the same rule holds for the data themselves. A resample that leaves nothing to
average is discarded.

An AUC's interval is symmetric on the logit scale (Pepe 2003, ch. 5) with the bootstrap's standard error; a
difference's is made of percentiles. Simulated with 48 patients in five folds and a true AUC of 0.94, the
former covers it in 95% of 400 studies, percentiles in 91%. Where the resamples do not vary, as at an AUC of
exactly 1, the bootstrap knows nothing, and there is no interval (NaN).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from scipy.special import expit, logit, ndtri

from mammojax.seeds import stream

ARM_NAMES = {
    "resize224_svm": "Baseline 1: resized to 224 × 224, SVM",
    "bce": "Baseline 2: logistic loss",
    "weighted_bce": "Class-weighted logistic loss",
    "auc": "Proposed: AUC loss",
}
LEVEL = 0.95
CHUNK = 4_000_000  # weights held at once, 32 MB


def arm_name(arm: str) -> str:
    """The name of an arm for people; an arm that is not one of the paper's keeps its own."""
    base = arm.removesuffix("_finetuned")
    return ARM_NAMES.get(base, base) + (", fine-tuned" if base != arm else "")


@dataclass(frozen=True)
class Predictions:
    """Out-of-fold predictions of one arm: arrays of length n, one entry an image, in any order.

    records, patients: str. folds: int, the fold in which the image was held out. labels: int in {0, 1}.
    scores: float, the logits of the fold's network. calibrated: float, log-odds by the calibration that was
    fitted inside the training folds; comparable between folds.
    Raises ValueError on unequal lengths, other labels, NaN, repeated records or a patient in two folds.
    """

    records: np.ndarray
    patients: np.ndarray
    folds: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    calibrated: np.ndarray

    def __post_init__(self):
        kinds = {
            "records": str,
            "patients": str,
            "folds": int,
            "labels": int,
            "scores": float,
            "calibrated": float,
        }
        for name, kind in kinds.items():
            object.__setattr__(self, name, np.asarray(getattr(self, name)).astype(kind))
        lengths = {name: value.shape for name, value in vars(self).items()}
        if len(set(lengths.values())) != 1 or self.labels.ndim != 1:
            raise ValueError(f"predictions need arrays of one length, got {lengths}")
        if not np.isin(self.labels, (0, 1)).all():
            raise ValueError(f"labels must be 0 or 1, got {np.setdiff1d(self.labels, (0, 1))[:5]}")
        for name in ("scores", "calibrated"):
            if np.isnan(getattr(self, name)).any():
                raise ValueError(f"{name} hold NaN for {np.isnan(getattr(self, name)).sum()} images")
        if len(np.unique(self.records)) != len(self.records):
            raise ValueError("a record has more than one prediction; an out-of-fold image is scored once")
        pairs = np.unique(np.stack([self.patients, self.folds.astype(str)]), axis=1)
        if pairs.shape[1] != len(np.unique(self.patients)):
            raise ValueError("a patient has images in two folds; folds must be patient-wise")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval, low to high; NaN for what is undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ArmSummary:
    """The AUC of one arm.

    folds: AUC of each fold, NaN where a class is missing. mean: their mean. deviation: their standard
    deviation (ddof = 1). pooled: AUC of all out-of-fold predictions together, on the calibrated log-odds.
    """

    images: int
    patients: int
    positives: int
    positive_patients: int
    folds: dict[int, float]
    mean: Estimate
    deviation: float
    pooled: Estimate


@dataclass(frozen=True)
class Difference:
    """AUC of the proposed arm minus that of another, on the same resamples; positive favours the proposed."""

    mean: Estimate
    pooled: Estimate


@dataclass(frozen=True)
class Summary:
    """All arms side by side.

    differences: by the other arm's name; empty if the proposed arm is not among the arms. discarded:
    resamples without a defined mean over folds.
    """

    arms: dict[str, ArmSummary]
    proposed: str
    differences: dict[str, Difference]
    resamples: int
    discarded: int
    seed: int


class _Ranks:
    """The order of one set of scores, found once and used for every resample."""

    def __init__(self, scores: np.ndarray, labels: np.ndarray):
        positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
        self.positive = positive
        self.negative = negative[np.argsort(scores[negative], kind="stable")]
        ordered = scores[self.negative]
        self.below = np.searchsorted(ordered, scores[positive], side="left")
        self.through = np.searchsorted(
            ordered, scores[positive], side="right"
        )  # their mean counts a tie half

    def auc(self, weights: np.ndarray) -> np.ndarray:
        """float64[r]: the AUC under weights float64[r, n], NaN where a class has no weight."""
        positive, negative = weights[:, self.positive], weights[:, self.negative]
        under = np.zeros((len(weights), negative.shape[1] + 1))
        np.cumsum(negative, axis=1, out=under[:, 1:])
        wins = np.einsum("rp,rp->r", positive, under[:, self.below] + under[:, self.through]) / 2
        pairs = positive.sum(axis=1) * under[:, -1]
        return np.divide(wins, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def _checked(scores, labels) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = np.asarray(scores, float), np.asarray(labels)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(
            f"scores and labels must be one-dimensional and of one length, got shapes {scores.shape} "
            f"and {labels.shape}; pass one label per score"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels must be 0 or 1, got {np.setdiff1d(labels, (0, 1))[:5]}")
    return scores, labels


def auc(scores, labels) -> float:
    """The share of (positive, negative) pairs in which the positive scores higher, ties one half; in [0, 1].

    The Mann-Whitney statistic, eq. (1) of Sulam et al. 2017, exact up to one division. NaN if a class is
    missing or a score is NaN. scores: float[n]; labels: int[n] in {0, 1}.
    """
    scores, labels = _checked(scores, labels)
    if np.isnan(scores).any():
        return math.nan
    return float(_Ranks(scores, labels).auc(np.ones((1, len(scores))))[0])


def roc(scores, labels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(false positive rates, true positive rates, thresholds), float64[d + 1] for d distinct scores.

    An image is called positive if its score is at least the threshold; thresholds fall from +inf, where
    nothing is called, to the smallest score, where everything is. Tied scores make one point, so that the
    area under straight lines between the points equals `auc`. Rates of a missing class are NaN.
    """
    scores, labels = _checked(scores, labels)
    values, place = np.unique(-scores, return_inverse=True)
    rates = []
    for label in (0, 1):
        called = np.bincount(place[labels == label], minlength=len(values)).cumsum()
        total = int((labels == label).sum())
        rates.append(np.concatenate([[0.0], called / total]) if total else np.full(len(values) + 1, np.nan))
    return rates[0], rates[1], np.concatenate([[np.inf], -values])


def summarise(
    arms: Mapping[str, Predictions], *, seed: int, resamples: int = 2000, proposed: str = "auc"
) -> Summary:
    """AUC of every arm, per fold, mean over folds and pooled; differences between arms; 95% intervals of all.

    Within a fold the raw scores are ranked. Between folds they cannot be: each fold is another network, and a
    score that was trained for its order has neither scale nor offset of its own. The pooled AUC therefore
    ranks the calibrated log-odds, whose scale and offset were fitted inside the training folds.

    Intervals come from a patient-clustered bootstrap, as the module says; differences are paired: both arms
    are seen on the same resamples. The result depends neither on the order of the records nor on that of the
    arms.

    Raises ValueError unless all arms hold the same records with the same patients, folds and labels.
    """
    if not arms:
        raise ValueError("no arms to summarise; pass at least one")
    ordered = {arm: _by_record(predictions) for arm, predictions in arms.items()}
    first, *others = ordered.values()
    for name in ("records", "patients", "folds", "labels"):
        if any(not np.array_equal(getattr(first, name), getattr(other, name)) for other in others):
            raise ValueError(f"the arms differ in their {name}; differences are paired and need the same")
    if not len(first):
        raise ValueError("the arms hold no predictions")

    resampled = {arm: ([], []) for arm in ordered}
    ranks = {arm: _ranks(predictions) for arm, predictions in ordered.items()}
    for weights in _resampled_weights(first.patients, first.folds, seed=seed, resamples=resamples):
        for arm, (folds, pooled) in ranks.items():
            resampled[arm][0].append(np.stack([r.auc(weights[:, held_out]) for held_out, r in folds]))
            resampled[arm][1].append(pooled.auc(weights))
    means, pools, summaries = {}, {}, {}
    for arm, predictions in ordered.items():
        folds = {}
        for k in np.unique(predictions.folds):
            held_out = predictions.folds == k
            folds[int(k)] = auc(predictions.scores[held_out], predictions.labels[held_out])
        values = np.array([value for value in folds.values() if not math.isnan(value)])
        means[arm] = (
            float(values.mean()) if len(values) else math.nan,
            _mean(np.concatenate(resampled[arm][0], axis=1)),
        )
        pools[arm] = auc(predictions.calibrated, predictions.labels), np.concatenate(resampled[arm][1])
        positive = predictions.labels == 1
        summaries[arm] = ArmSummary(
            images=len(predictions),
            patients=len(np.unique(predictions.patients)),
            positives=int(positive.sum()),
            positive_patients=len(np.unique(predictions.patients[positive])),
            folds=folds,
            mean=_area(*means[arm]),
            deviation=float(values.std(ddof=1)) if len(values) > 1 else math.nan,
            pooled=_area(*pools[arm]),
        )
    differences = {}
    if proposed in ordered:
        for arm in ordered:
            if arm != proposed:
                differences[arm] = Difference(
                    *(
                        _difference(of[proposed][0] - of[arm][0], of[proposed][1] - of[arm][1])
                        for of in (means, pools)
                    )
                )
    discarded = int(np.isnan(next(iter(means.values()))[1]).sum())  # a matter of labels: the same in all arms
    return Summary(summaries, proposed, differences, resamples, discarded, seed)


def _by_record(predictions: Predictions) -> Predictions:
    order = np.argsort(predictions.records)
    return Predictions(**{name: value[order] for name, value in vars(predictions).items()})


def _ranks(predictions: Predictions) -> tuple[list[tuple[np.ndarray, _Ranks]], _Ranks]:
    """The ranks of every fold's raw scores with the images they belong to, and of all calibrated log-odds."""
    folds = []
    for k in np.unique(predictions.folds):
        held_out = np.flatnonzero(predictions.folds == k)
        folds.append((held_out, _Ranks(predictions.scores[held_out], predictions.labels[held_out])))
    return folds, _Ranks(predictions.calibrated, predictions.labels)


def _resampled_weights(patients: np.ndarray, folds: np.ndarray, *, seed: int, resamples: int):
    """Chunks float64[r, n] of how often each image is drawn; the chunks together have `resamples` rows."""
    draws = []
    for k in np.unique(folds):
        held_out = np.flatnonzero(folds == k)
        names, owner = np.unique(patients[held_out], return_inverse=True)
        draws.append((held_out, len(names), owner, np.random.default_rng(stream(seed, "bootstrap", int(k)))))
    rows = max(1, CHUNK // len(patients))
    for start in range(0, resamples, rows):
        weights = np.empty((min(rows, resamples - start), len(patients)))
        for held_out, n, owner, generator in draws:
            times = generator.multinomial(n, np.full(n, 1 / n), size=len(weights))
            weights[:, held_out] = times[:, owner]
        yield weights


def _mean(folds: np.ndarray) -> np.ndarray:
    """The mean over the first axis without NaN; NaN where nothing is left."""
    defined = ~np.isnan(folds)
    number = defined.sum(axis=0)
    return np.where(number > 0, np.where(defined, folds, 0).sum(axis=0) / np.maximum(number, 1), np.nan)


def _area(value: float, resampled: np.ndarray) -> Estimate:
    """An AUC with its interval on the logit scale; d logit(a) = da / (a (1 - a))."""
    defined = resampled[~np.isnan(resampled)]
    deviation = np.std(defined) if len(defined) else 0.0
    if not 0 < value < 1 or not deviation > 0:
        return Estimate(value, math.nan, math.nan)
    half = ndtri((1 + LEVEL) / 2) * deviation / (value * (1 - value))
    return Estimate(value, *(float(expit(logit(value) + sign * half)) for sign in (-1, 1)))


def _difference(value: float, resampled: np.ndarray) -> Estimate:
    """A difference of AUCs with its percentile interval."""
    defined = resampled[~np.isnan(resampled)]
    if math.isnan(value) or not len(defined) or not np.ptp(defined) > 0:
        return Estimate(value, math.nan, math.nan)
    return Estimate(value, *map(float, np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])))


def written(estimate: Estimate, *, signed: bool = False) -> str:
    """An estimate for people: "0.712 (0.655 to 0.769)"; signed: with its sign, as differences are."""
    if math.isnan(estimate.value):
        return "not defined"
    form = "{:+.3f}" if signed else "{:.3f}"
    if math.isnan(estimate.low):
        return form.format(estimate.value) + " (no interval)"
    low, high = (form.format(bound).replace("-", "\u2212") for bound in (estimate.low, estimate.high))
    return f"{form.format(estimate.value)} ({low} to {high})".replace("-", "\u2212")


def method(summary: Summary) -> str:
    """How the numbers of a summary were made, in two or three sentences."""
    text = (
        f"In brackets: 95% intervals from {summary.resamples} bootstrap resamples of the patients inside each "
        "fold. SD: standard deviation over folds. Pooled: calibrated log-odds of all folds ranked together."
    )
    if summary.discarded:
        text += f" {summary.discarded} resamples lacked a class in every fold and were discarded."
    estimates = [e for arm in summary.arms.values() for e in (arm.mean, arm.pooled)]
    if any(math.isnan(e.low) and not math.isnan(e.value) for e in estimates):
        text += " No interval is given where the resamples do not vary, as at an AUC of exactly 1."
    return text


def table_markdown(summary: Summary) -> str:
    """The table of the paper in Markdown: every AUC with its interval and the number of images behind it."""
    lines = [
        "| Arm | AUC, mean over folds | SD | AUC, pooled | Images (positive) | Patients (positive) |",
        "|:--|:--|--:|:--|--:|--:|",
    ]
    for name, arm in summary.arms.items():
        deviation = "" if math.isnan(arm.deviation) else f"{arm.deviation:.3f}"
        lines.append(
            f"| {arm_name(name)} | {written(arm.mean)} | {deviation} | {written(arm.pooled)} "
            f"| {arm.images} ({arm.positives}) | {arm.patients} ({arm.positive_patients}) |"
        )
    if summary.differences:
        lines += ["", "| Proposed minus | Mean over folds | Pooled |", "|:--|:--|:--|"]
        for name, difference in summary.differences.items():
            mean, pooled = written(difference.mean, signed=True), written(difference.pooled, signed=True)
            lines.append(f"| {arm_name(name)} | {mean} | {pooled} |")
    return "\n".join([*lines, "", method(summary), ""])


def table_json(summary: Summary) -> dict:
    """The summary as a JSON value: unrounded, None for what is undefined."""

    def plain(value):
        if isinstance(value, dict):
            return {str(name): plain(v) for name, v in value.items()}
        return None if isinstance(value, float) and math.isnan(value) else value

    return plain(asdict(summary) | {"level": LEVEL})
