"""The other breast as channels, against scipy's own filters."""

import numpy as np
from scipy import ndimage

from mammojax.representations.contrast import difference

RNG = np.random.default_rng(0)
MEAN, DEVIATION = np.full(3, 0.5, np.float32), np.full(3, 2.0, np.float32)


def smoothed(values):
    return ndimage.gaussian_filter(np.clip((values - MEAN) / DEVIATION, -6, 6), (2, 2, 0))


def test_the_difference_of_equal_sizes_is_that_of_scipys_gaussian():
    own, other = RNG.normal(size=(2, 14, 9, 3)).astype(np.float32) * 5
    expected = smoothed(own) - smoothed(other)
    # float32 sums of 17 x 17 products
    assert np.allclose(difference(own, other, MEAN, DEVIATION), expected, atol=1e-5)


def test_another_size_is_laid_over_box_to_box():
    own, other = (
        RNG.normal(size=(14, 9, 3)).astype(np.float32),
        RNG.normal(size=(20, 7, 3)).astype(np.float32),
    )
    z = np.clip((other - MEAN) / DEVIATION, -6, 6)
    resampled = ndimage.zoom(z, (14 / 20, 9 / 7, 1), order=1, mode="nearest", grid_mode=True)
    expected = smoothed(own) - ndimage.gaussian_filter(resampled, (2, 2, 0))
    assert np.allclose(difference(own, other, MEAN, DEVIATION), expected, atol=1e-5)


def test_a_breast_against_itself_is_zero_and_without_partner_too():
    own = RNG.normal(size=(8, 8, 3)).astype(np.float32)
    assert np.abs(difference(own, own, MEAN, DEVIATION)).max() < 1e-5
    assert not difference(own, None, MEAN, DEVIATION).any()
