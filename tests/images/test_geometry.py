"""The map between a crop and its original, against pixels that are really cut, flipped, reduced and
padded.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammojax.images.geometry import Box, Geometry

steps = st.lists(
    st.one_of(
        st.builds(lambda t, l: ("cropped", Box(t, l, 50, 40)), st.integers(0, 500), st.integers(0, 500)),
        st.builds(lambda w: ("flipped", w), st.integers(1, 5000)),
        st.builds(lambda r, c: ("scaled", r, c), st.floats(0.05, 20), st.floats(0.05, 20)),
        st.builds(lambda t, l: ("padded", t, l), st.integers(-50, 500), st.integers(-50, 500)),
    ),
    max_size=6,
)
points = st.lists(st.tuples(st.floats(-100, 6000), st.floats(-100, 6000)), min_size=1, max_size=5)


def build(parts):
    geometry = Geometry()
    for name, *arguments in parts:
        geometry = getattr(geometry, name)(*arguments)
    return geometry


@given(steps, points)
def test_from_original_inverts_to_original(parts, where):
    geometry = build(parts)
    there = geometry.to_original(where)
    # float64 rounding, amplified by the largest product of six scales
    np.testing.assert_allclose(geometry.from_original(there), where, rtol=0, atol=1e-4)
    np.testing.assert_allclose(geometry.to_original(geometry.from_original(where)), where, rtol=0, atol=1e-4)


@given(steps)
def test_json_gives_the_same_bits_back(parts):
    geometry = build(parts)
    assert Geometry.from_json(geometry.to_json()) == geometry


@given(
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(1, 10),
    st.integers(1, 10),
    st.booleans(),
    st.integers(0, 4),
)
def test_pixels_of_crops_flips_and_pads_come_from_where_the_map_says_exactly(
    top, left, height, width, flip, pad
):
    original = np.arange(20 * 20).reshape(20, 20)
    box = Box(top, left, height, width)
    derived, geometry = original[box.slices], Geometry().cropped(box)
    if flip:
        derived, geometry = derived[:, ::-1], geometry.flipped(width)
    derived, geometry = (
        np.pad(derived, ((pad, 1), (2 * pad, 0)), constant_values=-1),
        geometry.padded(pad, 2 * pad),
    )
    for row, column in np.argwhere(derived >= 0):
        r, c = geometry.to_original([(row, column)])[0]
        assert original[int(r), int(c)] == derived[row, column]
        assert r == int(r) and c == int(c)


def test_a_reduced_pixel_has_its_centre_in_the_middle_of_its_block():
    geometry = Geometry().scaled(1 / 4, 1 / 2)
    np.testing.assert_allclose(geometry.to_original([(0, 0), (1, 1)]), [(1.5, 0.5), (5.5, 2.5)], atol=1e-12)


def test_scaling_keeps_the_edges_of_the_picture_in_place():
    geometry = Geometry().scaled(0.3, 7.0)
    np.testing.assert_allclose(geometry.to_original([(-0.5, -0.5)]), [(-0.5, -0.5)], atol=1e-12)
    np.testing.assert_allclose(
        geometry.to_original([(30 - 0.5, 70 - 0.5)]), [(100 - 0.5, 10 - 0.5)], atol=1e-12
    )


def test_a_scale_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="positive"):
        Geometry().scaled(0, 1)
