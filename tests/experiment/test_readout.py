"""What is read out of an image's score with its exam: both views, the other breast, and what stands in where one is missing."""

from types import SimpleNamespace

import numpy as np
import pytest

from mammojax.evaluation.metrics import auc
from mammojax.experiment.readout import Readout, positions, readout_of

SCORES = np.asarray([1.0, 3.0, -2.0, 0.5])
PARTNER, OTHER_VIEW = np.asarray([2, -1, 0, -1]), np.asarray([1, 0, -1, -1])


def test_without_an_exam_a_score_is_what_it_was():
    assert np.array_equal(Readout()(SCORES, PARTNER, OTHER_VIEW), SCORES)


def test_a_breasts_views_are_averaged_before_the_other_breast_is_taken_away():
    found = Readout(share=0.5, views=True, typical=10.0)(SCORES, PARTNER, OTHER_VIEW)
    views = [(1.0 + 3.0) / 2, (3.0 + 1.0) / 2, -2.0, 0.5]  # the last two have no other view
    assert found.tolist() == [views[0] + 1.0, views[1] - 5.0, views[2] - 0.5 * views[0], views[3] - 5.0]


def test_a_missing_partner_costs_as_much_as_the_typical_one():
    rng = np.random.default_rng(0)
    scores = rng.normal(5.0, 1.0, 400)  # logits may have any offset
    nobody = np.full(400, -1)
    model = SimpleNamespace(contrast="score", share=0.5, views="own")
    readout = readout_of(model, scores)
    shifted = readout(scores, nobody, nobody)
    with_partner = readout(scores, rng.permutation(400), nobody)
    # the median of both is the same: a film without a partner is neither favoured nor put back
    assert np.median(shifted) == pytest.approx(np.median(with_partner), abs=0.15)  # 3 standard errors
    assert np.array_equal(np.argsort(shifted), np.argsort(scores))


@pytest.mark.parametrize("contrast, share", [("none", 0.0), ("channels", 0.0), ("score", 0.3), ("both", 0.3)])
def test_the_settings_name_what_is_read_out(contrast, share):
    for views in ("own", "mean"):
        readout = readout_of(SimpleNamespace(contrast=contrast, share=0.3, views=views), SCORES)
        typical = float(np.median(SCORES)) if share else 0.0
        assert readout == Readout(share, views == "mean", typical)
        assert Readout(**readout.to_json()) == readout


def test_positions_are_found_among_the_chosen_records_alone():
    partner = np.asarray([4, -1, 3, 2, 0])
    assert positions(np.asarray([4, 2, 0, 1]), partner).tolist() == [2, -1, 0, -1]


def test_a_patients_own_other_breast_helps_and_a_random_womans_does_not():
    """What both breasts of a woman share hides a lesion in one: her own other breast takes it away, another's adds to it."""
    rng = np.random.default_rng(0)
    women = 400
    shared = np.repeat(rng.normal(0, 2.0, women), 2)
    labels = np.zeros(2 * women, int)
    labels[: women // 2 : 2] = 1
    scores = shared + rng.normal(0, 0.5, 2 * women) + labels
    own = np.arange(2 * women) ^ 1
    none = np.full(2 * women, -1)
    random = (own + 2 * (1 + rng.integers(women - 1, size=2 * women))) % (2 * women)
    assert not (random // 2 == own // 2).any()
    readout = Readout(share=1.0)
    alone, with_own, with_random = (auc(readout(scores, p, none), labels) for p in (none, own, random))
    # the standard error of an AUC of 100 positives among 800 is 0.03
    assert with_own > alone + 0.1 and with_random < alone + 0.03
