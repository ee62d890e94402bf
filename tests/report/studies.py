"""Screening studies made up for tests: patients with two breasts of two images, and scores that are told apart."""

import dataclasses

import numpy as np

from mammojax.evaluation.predictions import Predictions


def study(
    rng, *, patients: int = 48, positive: int = 17, shift: float = 1.0, repeats: int = 1, noise: float = 0.0
) -> Predictions:
    """One breast of the first patients is positive; images of a patient share 30% of their variance.

    noise: standard deviation of what a repeat adds to the scores, as other networks do.
    """
    images = 4
    owner = np.repeat(np.arange(patients), images)
    breast = np.tile([0, 0, 1, 1], patients)
    labels = ((owner < positive) & (breast == 0)).astype(int)
    scores = shift * labels + np.sqrt(0.3) * rng.normal(size=patients)[owner]
    scores += np.sqrt(0.7) * rng.normal(size=len(owner))
    folds = [(owner * (1 + 5 * r) + owner // 5 * r) % 5 for r in range(repeats)]
    seen = [scores + noise * rng.normal(size=len(owner)) for _ in range(repeats)]
    return Predictions(
        records=np.tile(np.arange(len(owner)), repeats),
        patients=np.tile(owner, repeats),
        breasts=np.tile(breast, repeats),
        folds=np.concatenate(folds),
        labels=np.tile(labels, repeats),
        scores=np.concatenate(seen),
        calibrated=np.concatenate(seen),
        repeats=np.repeat(np.arange(repeats), len(owner)),
    )


def altered(predictions: Predictions, **changes) -> Predictions:
    return dataclasses.replace(predictions, **changes)
