"""Which samples an exam is read with."""

import numpy as np

from mammojax.datasets.samples import Samples
from mammojax.experiment.inputs import neighbours

# one patient: L CC, L MLO, R CC, R MLO; another: L CC alone
PARTNER, OTHER_VIEW = np.asarray([2, 3, 0, 1, -1]), np.asarray([1, 0, 3, 2, -1])


def samples(*members):
    n = len(members)
    return Samples(
        tuple(map(str, range(n))), tuple(map(np.asarray, members)), np.zeros(n, int), np.zeros(n, int)
    )


def test_images_are_read_with_images():
    found = neighbours(samples([0], [1], [2], [3], [4]), PARTNER, OTHER_VIEW)
    assert found.partner.tolist() == [2, 3, 0, 1, -1] and found.other_view.tolist() == [1, 0, 3, 2, -1]


def test_breasts_are_read_with_the_other_breast_and_hold_their_views_themselves():
    found = neighbours(samples([0, 1], [2, 3], [4]), PARTNER, OTHER_VIEW)
    assert found.partner.tolist() == [1, 0, -1] and found.other_view.tolist() == [-1, -1, -1]


def test_a_patient_has_no_one_beside_her():
    found = neighbours(samples([0, 1, 2, 3], [4]), PARTNER, OTHER_VIEW)
    assert found.partner.tolist() == [-1, -1] and found.other_view.tolist() == [-1, -1]
