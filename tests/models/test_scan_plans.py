"""Plans for crops of any size: np cells a side, every pixel seen, few programs."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mammojax.models.backbones import vgg_m
from mammojax.models.backbones.contract import output_side
from mammojax.models.backbones.efficientnet_lite import LITE0
from mammojax.models.scanning import plan, prepare_image

LITE, VGG = LITE0.BACKBONE, vgg_m.BACKBONE


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 6000),
    st.integers(1, 6000),
    st.sampled_from([1, 4, 15, 30, 64]),
    st.sampled_from([LITE, VGG]),
)
def test_a_crop_of_any_size_fits_its_plan_and_gives_np_cells_a_side(rows, columns, cells, backbone):
    made = plan((rows, columns), backbone, cells)
    layers = backbone.tap(None).layers
    for axis in range(2):
        first = made.first_strides[axis] if made.first_strides else None
        map_side = output_side(layers, made.input_shape[axis], first)
        if made.window:
            map_side = (map_side - made.window[axis]) // made.step[axis] + 1
            assert made.step[axis] <= made.window[axis] or cells == 1  # no cell of the map is left out
        else:
            assert 1 <= first <= layers[0].kernel  # no pixel is skipped
        assert map_side == cells
        assert made.reduced_shape[axis] <= made.input_shape[axis]


@settings(max_examples=60, deadline=None)
@given(st.integers(40, 5000), st.integers(40, 4000), st.sampled_from([LITE, VGG]))
def test_every_pixel_of_the_crop_is_seen_by_some_cell(rows, columns, backbone):
    boxes = plan((rows, columns), backbone, 15).cell_windows()
    top, left, bottom, right = np.moveaxis(boxes, -1, 0)
    assert (
        top.min() <= 0 and left.min() <= 0 and bottom.max() >= rows - 1e-6 and right.max() >= columns - 1e-6
    )
    ends, begins = bottom[:-1, 0], top[1:, 0]
    assert (begins <= ends + 1e-9).all() and (
        left[0, 1:] <= right[0, :-1] + 1e-9
    ).all()  # no gap between neighbours


def test_plans_of_similar_crops_are_equal_so_that_few_programs_are_compiled():
    rng = np.random.default_rng(0)
    crops = rng.integers((1600, 700), (2100, 1300), (500, 2))
    assert len({plan(tuple(c), LITE, 15) for c in crops}) <= 20
    assert len({plan(tuple(c), VGG, 15) for c in crops}) <= 9


def test_a_longest_side_reduces_by_area_averaging_and_keeps_the_aspect():
    made = plan((4000, 2000), LITE, 15, max_side=1000)
    assert made.reduced_shape == (1000, 500) and made.reduction == (4.0, 4.0)
    image = np.arange(4000 * 2000, dtype=np.uint16).reshape(4000, 2000) % 4096
    found = prepare_image(image, 12, made)[:1000, :500, 0]
    means = image.astype(np.float64).reshape(1000, 4, 500, 4).mean((1, 3)) / 4095
    assert np.abs(found - means).max() < 1e-5  # float32 against float64 means of 16 values


def test_full_bit_depth_reaches_the_network():
    made = plan((64, 64), LITE, 2)
    image = np.full((64, 64), 30000, np.uint16)
    image[10, 10] = 30001
    prepared = prepare_image(image, 16, made)
    assert prepared[10, 10, 0] > prepared[10, 11, 0] and prepared.max() <= 1
    assert np.all(prepared[64:] == 0)
