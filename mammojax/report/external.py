"""What a report of an external validation says beside its table: how the calibration has drifted."""

from collections.abc import Mapping
from dataclasses import asdict

from mammojax.evaluation.drift import drift
from mammojax.evaluation.predictions import Predictions
from mammojax.report.findings import Finding
from mammojax.report.table import plain, written


def calibration_drift(
    predictions: Mapping[str, Predictions], *, titles: Mapping[str, str], seed: int, resamples: int
) -> Finding:
    """Every arm's mean probability against the share of positives, and the recalibration that it would need."""
    found = {arm: drift(p, seed=seed, resamples=resamples) for arm, p in predictions.items()}
    lines = tuple(
        (
            titles[arm],
            written(d.predicted),
            written(d.observed),
            written(d.excess, signed=True),
            written(d.slope),
            written(d.intercept, signed=True),
        )
        for arm, d in found.items()
    )
    heads = (
        "Arm",
        "Mean probability",
        "Share of positives",
        "Difference",
        "Slope needed",
        "Intercept needed",
    )
    note = (
        "Calibrated on the training folds and left as it was. A recalibration would be log-odds times the slope plus the "
        "intercept: 1 and 0 where nothing has drifted, a slope below 1 where the probabilities claim too much. In brackets: "
        "95% intervals from resampled patients."
    )
    return Finding(
        "Calibration drift", heads, lines, note, plain({arm: asdict(d) for arm, d in found.items()})
    )
