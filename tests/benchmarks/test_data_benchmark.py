"""The benchmark of breast boxes: recipes on a drawn film, and what is counted."""

import numpy as np
import pytest

from mammojax.benchmarks.data.boxes import RECIPES, Film, compare


def film(base: int) -> Film:
    """A breast of 12 bits at the left, a letter in the air, a film base of `base`."""
    rows, columns = np.mgrid[:300, :200]
    truth = (rows - 150) ** 2 / 110**2 + columns**2 / 120**2 < 1
    pixels = np.where(truth, 2200, base) + np.random.default_rng(0).integers(0, 3, truth.shape)
    pixels[10:20, 170:180] = 4000
    return Film(pixels.astype(np.uint16), 12, truth, ((150, 60, 10), (290, 190, 5)))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_breast_on_black_is_found_by_all_but_not_on_a_film_base(recipe):
    black, base = Film(np.where(film(0).pixels < 5, 0, film(0).pixels), 12, film(0).truth, ()), film(300)
    assert compare(iter([black]), margin=0.02)[recipe].overlap > 0.95
    found = compare(iter([base]), margin=0.02)[recipe].overlap
    robust = recipe in ("mammojax", "Otsu, largest component")
    assert found > 0.95 if robust else found < 0.7


def test_lesions_outside_and_lesions_cut_are_counted():
    found = compare(iter([film(300)] * 2), margin=0.02)["mammojax"]
    assert (found.films, found.lesions, found.outside, found.cut) == (2, 4, 2, 2)
    assert 0.4 < found.kept < 0.55
