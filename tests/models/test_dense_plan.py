"""All cells of a tap: sizes of few kinds, where cells lie, and which pixels move them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammojax.models.backbones import vgg_16, vgg_m
from mammojax.models.backbones.contract import pixels_read, receptive_field
from mammojax.models.backbones.efficientnet_lite import LITE0
from mammojax.models.plans import dense_plan
from mammojax.models.scanning import prepare_image, scan

LITE, PITCH = LITE0.BACKBONE, {"stride8": 8, "stride16": 16, "stride32": 32}
SIDES = st.tuples(st.integers(1, 4500), st.integers(1, 4500))


@settings(max_examples=150, deadline=None)
@given(SIDES, st.sampled_from(sorted(PITCH)), st.sampled_from([1.0, 0.5, 0.3]), st.sampled_from([None, 900]))
def test_cells_cover_the_crop_and_little_is_padded(shape, tap, scale, max_side):
    made, pitch = dense_plan(shape, LITE, tap=tap, scale=scale, max_side=max_side), PITCH[tap]
    for axis in range(2):
        reduced, side, cells = made.reduced_shape[axis], made.input_shape[axis], made.cells[axis]
        assert max(reduced, 1) <= side < max(1.25 * reduced + pitch, pitch + 1) and side % pitch == 0
        assert (cells - 1) * pitch < reduced <= cells * pitch <= side == made.map_shape[axis] * pitch
        assert made.seen(axis).all()
    factor = max(1 / scale, max(shape) / max_side if max_side else 0)
    assert made.reduced_shape == tuple(max(1, round(side / factor)) for side in shape)
    centres = made.cell_centres()
    assert centres.shape == (*made.cells, 2)
    # the middle of the tile of `pitch` reduced pixels, in crop pixels
    first = (pitch / 2) * np.asarray(made.reduction) - 0.5
    assert np.allclose(centres[0, 0], first) and np.allclose(
        centres[-1, -1], first + pitch * (np.asarray(made.cells) - 1) * made.reduction
    )


def test_sizes_are_of_four_kinds_an_octave():
    sides = {dense_plan((side, 1), LITE, tap="stride32").input_shape[0] for side in range(513, 4097)}
    assert sides == {base * step // 4 for base in (512, 1024, 2048) for step in (5, 6, 7, 8)}


@settings(max_examples=100, deadline=None)
@given(SIDES, SIDES, st.sampled_from(sorted(PITCH)), st.sampled_from(sorted(PITCH)))
def test_plans_are_equal_where_their_descriptions_are(one, two, tap, other):
    first, second = dense_plan(one, LITE, tap=tap), dense_plan(two, LITE, tap=other)
    assert (first == second) == (first.describe() == second.describe())
    assert (first == second) == (tap == other and first.input_shape == second.input_shape)
    assert first != second or hash(first) == hash(second)


def test_crops_of_one_kind_share_one_program(thin_network):
    run = jax.jit(lambda pixels, made: scan(thin_network, pixels, made), static_argnums=1)
    for shape, programs in (((225, 225), 1), ((256, 230), 1), ((256, 257), 2)):
        made = dense_plan(shape, vgg_m.BACKBONE, tap="fc6")
        image = np.full(shape, 4095, np.uint16)
        values = run(prepare_image(image, 12, made)[None], made)
        assert values.shape[1:3] == made.map_shape and min(made.cells) >= 1
        assert run._cache_size() == programs


def test_a_lit_pixel_moves_only_cells_that_see_it(lite_stride8):
    shape = (150, 90)
    made = dense_plan(shape, LITE, tap="stride8")
    start, step, size = receptive_field(LITE.tap("stride8").layers)
    run = jax.jit(lambda pixels: scan(lite_stride8, pixels, made))
    rng = np.random.default_rng(0)
    image = rng.integers(0, 4096, shape).astype(np.uint16)
    before = np.asarray(run(prepare_image(image, 12, made)[None]))[0]
    assert before.shape[:2] == made.map_shape
    for row, column in ((0, 0), (77, 41), (149, 89)):
        lit = image.copy()
        lit[row, column] = 4095 - lit[row, column]
        moved = (np.asarray(run(prepare_image(lit, 12, made)[None]))[0] != before).any(-1)
        rows, columns = np.meshgrid(*(start + np.arange(n) * step for n in made.map_shape), indexing="ij")
        sees = (rows <= row) & (row < rows + size) & (columns <= column) & (column < columns + size)
        assert moved.any() and not (moved & ~sees).any()
        where = np.argwhere(moved)
        nearest = abs(made.cell_centres() - (row, column)).max(-1)
        at = np.unravel_index(nearest.argmin(), nearest.shape)
        assert moved[at], "the cell whose centre is nearest does not see the pixel"
        assert len(where) < moved.size / 2


def test_a_cell_of_padded_layers_leans_to_the_middle_of_the_pixels_it_stands_for(lite_stride8):
    made = dense_plan((128, 128), LITE, tap="stride8")
    row, column = 8, 8
    slope = jax.jit(jax.grad(lambda pixels: jnp.sum(scan(lite_stride8, pixels, made)[:, row, column])))
    pixels = np.random.default_rng(0).uniform(0, 1, (3, 128, 128, 1)).astype(np.float32)
    weight = np.abs(np.asarray(slope(pixels), np.float64)).sum((0, 3))
    found = [(weight.sum(1 - axis) * np.arange(128)).sum() / weight.sum() for axis in range(2)]
    # the middle of what is seen lies 3.5 pixels further on both axes
    assert np.abs(made.cell_centres()[row, column] - found).max() < 1.5


@pytest.mark.parametrize("module, tap", [(vgg_m, "pool5"), (vgg_m, "fc6"), (vgg_16, "pool5")])
def test_a_cell_of_other_networks_lies_in_the_middle_of_what_it_reads(module, tap):
    made = dense_plan((1400, 1800), module.BACKBONE, tap=tap, scale=0.5)
    cell = tuple(cells // 2 for cells in made.cells)
    for axis in range(2):
        marked = np.arange(made.map_shape[axis]) == cell[axis]
        read = np.flatnonzero(pixels_read(module.BACKBONE.tap(tap).layers, made.input_shape[axis], marked))
        assert 0 not in read and made.input_shape[axis] - 1 not in read
        # two crop pixels a reduced one: the middle of reduced pixel r is 2 r + 0.5
        assert made.cell_centres()[cell][axis] == pytest.approx(2 * read[[0, -1]].mean() + 0.5)


def test_a_crop_smaller_than_a_cell_sees_gives_one():
    for backbone, tap in ((vgg_m.BACKBONE, "fc6"), (vgg_16.BACKBONE, "fc6"), (LITE, "stride32")):
        made = dense_plan((1, 1), backbone, tap=tap)
        assert made.cells == (1, 1) and min(made.map_shape) >= 1
        assert math.prod(made.input_shape) <= 256**2
