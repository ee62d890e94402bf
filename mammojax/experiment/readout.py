"""From scores of images to scores of images read with their exam: the mean of the views, minus a share of the other breast.

All films of an exam are taken at one visit: what a patient's own other films tell uses nothing from the future. A record
without a partner, or without another view, goes on without.
"""

from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Readout:
    """share: of the other breast's score that is taken away. views: whether a breast's two views are averaged first.
    typical: the score that is taken where a partner is missing, the median over the training set, so that such a record
    is neither favoured nor put back."""

    share: float = 0.0
    views: bool = False
    typical: float = 0.0

    def __call__(self, scores: np.ndarray, partner: np.ndarray, other_view: np.ndarray) -> np.ndarray:
        """float64[n]: what is read out of scores float[n]. partner, other_view: int[n], positions in scores, -1 for none."""
        scores = np.asarray(scores, float)
        if self.views:
            scores = np.where(other_view >= 0, (scores + scores[other_view]) / 2, scores)
        if self.share:
            scores = scores - self.share * np.where(partner >= 0, scores[partner], self.typical)
        return scores

    def entering(self, k: int, partner: np.ndarray, other_view: np.ndarray) -> set[int]:
        """The positions of the scores that enter what is read out at position k, its own among them."""
        beside = int(partner[k]) if self.share else -1
        found = {k, beside} - {-1}
        return found | ({int(other_view[i]) for i in found} - {-1} if self.views else set())

    def to_json(self) -> dict:
        """A JSON value."""
        return asdict(self)


def readout_of(model, scores: np.ndarray) -> Readout:
    """The read-out that settings.model asks for; scores: float[n], out-of-fold scores of the training set."""
    share = model.share if model.contrast in ("score", "both") else 0.0
    typical = float(np.median(scores)) if share and len(scores) else 0.0
    return Readout(share, model.views == "mean", typical)


def positions(numbers: np.ndarray, of: np.ndarray) -> np.ndarray:
    """int64[n]: where the records `of`[numbers] stand in `numbers`, -1 for none or one that is not among them.

    numbers: int[n], distinct record numbers. of: int[records], the partner of every record.
    """
    place = {int(number): k for k, number in enumerate(numbers)}
    return np.asarray([place.get(int(of[number]), -1) for number in numbers], np.int64)
