"""The two readings of an image: window by window, and one graph. What is read, how finely, with how many programs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from mammojax.errors import UserError
from mammojax.models.backbones import vgg_m
from mammojax.models.backbones.efficientnet_lite import LITE0
from mammojax.models.plans import plan, programs
from mammojax.models.scanning import scan
from mammojax.models.windows import scan_windows, window_corners

LITE, VGG = LITE0.BACKBONE, vgg_m.BACKBONE


def read(reading, network, made, seed=0, **options):
    pixels = np.random.default_rng(seed).uniform(0, 1, (1, *made.input_shape, 1)).astype(np.float32)
    graph, state = nnx.split(network)
    run = jax.jit(lambda state, x: reading(nnx.merge(graph, state), x, made, **options))
    return np.asarray(run(state, pixels), np.float64)


# --- windows ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "crop, cells",
    [
        ((180, 420), 4),
        *(pytest.param(*other, marks=pytest.mark.slow) for other in (((420, 300), 3), ((900, 1200), 2))),
    ],
)
def test_without_padding_the_graph_is_every_window_read_alone(thin_network, crop, cells):
    made = plan(crop, VGG, cells, padding="valid")
    one, many = read(scan, thin_network, made), read(scan_windows, thin_network, made, together=4)
    assert one.shape == many.shape == (1, cells, cells, 24) and many.std() > 0
    # the same float32 sums in another order through six convolutions
    assert np.abs(one - many).max() < 1e-5 * np.abs(many).max()


def test_with_its_own_padding_vgg_m_differs_from_windows_at_their_edges_only_by_degree(thin_network):
    made = plan((420, 300), VGG, 3)
    one, many = read(scan, thin_network, made), read(scan_windows, thin_network, made)
    difference = np.linalg.norm(one - many) / np.linalg.norm(many)
    # zeros stand at a window's edges where the graph has neighbours: not rounding, and not another function
    assert 1e-3 < difference < 1
    # a single window has no neighbours: there both are one and the same
    alone = plan((110, 110), VGG, 1)
    assert np.array_equal(read(scan, thin_network, alone), read(scan_windows, thin_network, alone))


def test_windows_of_a_pooling_network_are_the_pixels_of_their_cells(lite):
    made = plan((200, 150), LITE, 3)
    corners, size = window_corners(lite, made)
    assert size == (16 * made.window[0], 16 * made.window[1])
    assert tuple(corners[-1]) == (16 * made.step[0] * 2, 16 * made.step[1] * 2)
    assert tuple(corners[-1] + size) == made.input_shape
    one, many = read(scan, lite, made), read(scan_windows, lite, made)
    assert 1e-3 < np.linalg.norm(one - many) / np.linalg.norm(many) < 1
    alone = plan((96, 96), LITE, 1)
    assert np.allclose(read(scan, lite, alone), read(scan_windows, lite, alone), rtol=1e-5, atol=1e-5)


def test_a_window_that_does_not_touch_changed_pixels_keeps_its_vector(thin_network):
    made = plan((420, 300), VGG, 3)
    pixels = np.random.default_rng(0).uniform(0, 1, (1, *made.input_shape, 1)).astype(np.float32)
    corners, size = window_corners(thin_network, made)
    changed = pixels.copy()
    changed[:, :30, :30] = 1 - changed[:, :30, :30]
    run = jax.jit(lambda x: scan_windows(thin_network, x, made))
    moved = (np.asarray(run(pixels)) != np.asarray(run(changed))).any(-1)[0]
    holds = ((corners < 30).all(-1)).reshape(3, 3)
    assert moved.any() and not (moved & ~holds).any() and size[0] > 30


def test_pixels_of_another_size_than_planned_are_refused(thin_network):
    made = plan((420, 300), VGG, 3)
    for reading in (scan, scan_windows):
        with pytest.raises(ValueError, match="the plan reads"):
            reading(thin_network, jnp.zeros((1, 100, 100, 1)), made)


def test_a_pooling_network_has_no_reading_without_padding():
    with pytest.raises(UserError, match="padding is 'valid'; efficientnet_lite0 is read with own"):
        plan((200, 150), LITE, 3, padding="valid")


# --- coverage --------------------------------------------------------------------------------------------------------
def dependent_pixels(network, made):
    """bool[H, W]: pixels that some cell depends on, found by pulling random slopes back through the network itself."""

    def pulled(pixels, slopes):
        _, pull = jax.vjp(lambda x: scan(network, x, made), pixels)
        return jnp.abs(pull(slopes)[0]).sum((0, -1))

    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 1, (6, *made.input_shape, 1)).astype(np.float32)
    slopes = rng.normal(size=(6, made.cells, made.cells, network.channels)).astype(np.float32)
    return np.asarray(jax.jit(pulled)(pixels, slopes)) > 0


@pytest.fixture(scope="module")
def open_network(thin_network):
    """No unit of it is ever silent, so that no pixel that is read has no slope: all biases are far above zero."""
    graph, state = nnx.split(thin_network)
    network = nnx.merge(graph, jax.tree.map(jnp.copy, state))
    for layer in network.layers.values():
        layer["bias"][...] = jnp.full_like(layer["bias"][...], 2000.0)
    network.channels = 24
    return network


@pytest.mark.parametrize("padding", ["own", "valid"])
def test_the_coverage_is_the_share_of_pixels_that_have_a_slope(open_network, padding):
    made = plan((330, 250), VGG, 3, padding=padding)
    assert made.coverage == 1.0
    # strides beyond the first kernel, which `plan` never makes, skip pixels: 7 of every 9 rows and of every 8 columns
    steps = (
        (made.input_shape[0] - 7) // made.first_strides[0],
        (made.input_shape[1] - 7) // made.first_strides[1],
    )
    shape = 7 + 9 * steps[0], 7 + 8 * steps[1]
    skipping = dataclasses.replace(
        made, first_strides=(9, 8), input_shape=shape, crop_shape=shape, reduced_shape=shape
    )
    assert skipping.coverage < 0.75
    slopes = dependent_pixels(open_network, skipping)
    rows, columns = slopes.any(1), slopes.any(0)
    assert np.isclose(rows.mean() * columns.mean(), skipping.coverage, rtol=1e-12)  # counts on both sides
    # single pixels may be missing from the slopes: no maximum of any channel was theirs in six random images
    assert (rows[:, None] & columns).sum() - slopes.sum() < 1e-3 * slopes.sum()


def test_pixels_beyond_the_last_window_count_as_unread(open_network):
    made = plan((300, 300), VGG, 2, padding="valid")
    side = made.input_shape[0]
    more = dataclasses.replace(
        made, input_shape=(side + 5, side), crop_shape=(side + 5, side), reduced_shape=(side + 5, side)
    )
    slopes = dependent_pixels(open_network, more)
    assert np.array_equal(np.flatnonzero(slopes.any(1)), np.arange(side))
    assert np.isclose(more.coverage, side / (side + 5), rtol=1e-12)


def test_a_crop_that_outgrows_the_first_kernel_is_reduced_just_enough_and_the_plan_says_so():
    made = plan((4084, 3328), VGG, 15)
    assert made.first_strides[0] == 7 and made.coverage == 1.0
    rows, columns = made.pixel_size()
    assert np.isclose(rows, 4084 / 2331) and np.isclose(
        columns, rows, rtol=1e-3
    )  # 7 + 7 (108 + 16 14) = 2331 rows
    assert np.allclose(made.pixel_size((0.05, 0.05)), (0.05 * rows, 0.05 * columns))
    text = made.account((0.05, 0.05))
    assert "100.0% of its pixels" in text and "1.75 x 1.75 pixels (0.088 x 0.088 mm)" in text
    full = plan((4084, 3328), VGG, 64)
    assert full.pixel_size() == (1.0, 1.0) and full.coverage == 1.0 and "mm" not in full.account()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([1, 4, 15, 64]), st.sampled_from([LITE, VGG])
)
def test_the_plan_of_any_crop_reads_all_its_pixels(rows, columns, cells, backbone):
    for padding in ("own", "valid") if backbone is VGG else ("own",):
        assert plan((rows, columns), backbone, cells, padding=padding).coverage == 1.0


# --- programs --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("padding", ["own", "valid"])
def test_crops_of_any_size_need_at_most_49_programs_of_vgg_m(padding):
    made = programs(VGG, 15, largest=(6000, 6000), padding=padding)
    assert len(made) == 49 and len(programs(VGG, 64, largest=(4084, 3328))) == 12
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.uniform(0, np.log(6000), (500, 2))).astype(int)
    assert {plan(tuple(size), VGG, 15, padding=padding) for size in sizes} <= set(made)


def test_the_programs_of_a_pooling_network_are_counted_and_few_for_films_of_one_kind():
    largest = (2048, 1664)
    made = programs(LITE, 15, largest=largest)
    cells = 2048 // 16
    assert len(made) <= (-(-2 * cells // 31)) ** 2 * 2  # pairs of steps, with windows of one size or the next
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, np.add(largest, 1), (2000, 2))
    assert {plan(tuple(size), LITE, 15) for size in sizes} <= set(made)
    films = rng.integers((1600, 700), (2049, 1300), (500, 2))
    assert len({plan(tuple(size), LITE, 15) for size in films}) <= 20
    reduced = programs(LITE, 15, largest=(6000, 6000), max_side=1024)
    assert {plan(tuple(size), LITE, 15, max_side=1024) for size in sizes} <= set(reduced) and len(
        reduced
    ) <= 60
