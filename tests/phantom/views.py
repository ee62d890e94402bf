"""How views of the phantom are made small, shown and told apart in its tests."""

import numpy as np

from mammojax.phantom.screening_set import (
    CALCIFICATIONS,
    SPICULATED,
)

SMALL = {"height": 256, "width": 192}
MEDIUM = {"height": 512, "width": 384}
MALIGNANT_KINDS = {SPICULATED, CALCIFICATIONS}


def light(view) -> np.ndarray:
    """Attenuation bright, 0 to 1, whatever the storage."""
    scaled = view.pixels / (2.0**view.bits - 1)
    return 1 - scaled if view.photometric == "MONOCHROME1" else scaled


def auc(labels, scores) -> float:
    """Share of pairs ranked right, ties half, by counting all pairs."""
    labels, scores = np.asarray(labels), np.asarray(scores, float)
    difference = scores[labels == 1][:, None] - scores[labels == 0]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def null_deviation(labels) -> float:
    """Standard deviation of the AUC of a score without information (Hanley and McNeil 1982)."""
    positives = int(np.sum(labels))
    negatives = len(labels) - positives
    return np.sqrt((positives + negatives + 1) / (12 * positives * negatives))
