"""Scanning: plans for crops of any size, what each cell sees, and the networks against independent references."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from mammojax.errors import UserError
from mammojax.models.backbones import vgg_m
from mammojax.models.backbones.contract import output_side
from mammojax.models.backbones.efficientnet_lite import LITE0, LITE1, LITE2
from mammojax.models.classifiers.paper import Classifier
from mammojax.models.layers import (
    depthwise,
    in_turn,
    local_response_normalisation,
    max_pool,
    patches_convolution,
)
from mammojax.models.merged import MammogramNet, layer_depth
from mammojax.models.scanning import load_backbone, plan, prepare_image, scan, whole_image_features
from mammojax.models.weights.random import random_layers
from mammojax.models.weights.torch_file import read_torch_file

LITE, VGG = LITE0.BACKBONE, vgg_m.BACKBONE


# --- plans -----------------------------------------------------------------------------------------------------------
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


# --- layers against numpy in float64 --------------------------------------------------------------------------------
def reference_convolution(x, kernel, bias, stride, pad):
    x = np.pad(x, ((pad[0], pad[1]), (pad[0], pad[1]), (0, 0)))
    k = kernel.shape[0]
    rows, columns = ((side - k) // stride + 1 for side in x.shape[:2])
    out = np.zeros((rows, columns, kernel.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            out[i, j] = np.tensordot(x[i * stride : i * stride + k, j * stride : j * stride + k], kernel, 3)
    return out + bias


@pytest.mark.parametrize(
    "k, stride, side", [(3, 1, 12), (3, 2, 12), (5, 1, 9), (5, 2, 12), (5, 2, 13), (3, 2, 7)]
)
def test_both_forms_of_a_depthwise_convolution_are_the_reference(k, stride, side):
    rng = np.random.default_rng(k * side)
    x, kernel, bias = rng.normal(size=(side, side, 6)), rng.normal(size=(k, k, 1, 6)), rng.normal(size=6)
    lacking = max((-(-side // stride) - 1) * stride + k - side, 0)
    dense = np.zeros((k, k, 6, 6))
    dense[..., np.arange(6), np.arange(6)] = kernel[:, :, 0]
    expected = reference_convolution(x, dense, bias, stride, (lacking // 2, lacking - lacking // 2))
    for form in ("shifts", "grouped"):
        found = depthwise(
            *(jnp.asarray(v, jnp.float32) for v in (x[None], kernel, bias)), stride=stride, form=form
        )
        assert np.abs(np.asarray(found[0]) - expected).max() < 1e-5  # 25 float32 products of size 1 to 4


@pytest.mark.parametrize("form", ["shifts", "windows"])
def test_normalisation_pools_and_patches_are_the_reference(form):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(13, 13, 16)) * 10
    padded = np.pad(x**2, ((0, 0), (0, 0), (2, 2)))
    expected = x * (2 + 1e-4 * sum(padded[..., i : i + 16] for i in range(5))) ** -0.75
    found = local_response_normalisation(jnp.asarray(x[None], jnp.float32))
    assert np.abs(np.asarray(found[0]) - expected).max() < 1e-5 * np.abs(expected).max()
    rows = [x[i : i + 3].max(0) for i in range(0, 13, 2)][:7]
    pooled = np.stack([np.stack([r[j : j + 3].max(0) for j in range(0, 13, 2)][:7]) for r in rows])
    found = np.asarray(max_pool(jnp.asarray(x[None], jnp.float32), form=form))[0]
    assert found.shape == (6, 6, 16) and np.allclose(found, pooled[:6, :6], rtol=1e-6)
    assert max_pool(jnp.zeros((1, 14, 12, 1)), form="shifts").shape == (
        1,
        7,
        6,
        1,
    )  # the last window hangs over
    kernel, bias = rng.normal(size=(6, 6, 16, 5)), rng.normal(size=5)
    expected = reference_convolution(x, kernel, bias, 1, (0, 0))
    found = patches_convolution(*(jnp.asarray(v, jnp.float32) for v in (x[None], kernel, bias)))
    assert (
        np.abs(np.asarray(found[0]) - expected).max()
        < 2e-6 * np.abs(x).max() * np.abs(kernel).sum() ** 0.5 * 10
    )


def test_one_grey_channel_is_the_rgb_network_on_three_equal_channels():
    layers = random_layers(vgg_m.SHAPES, 0)
    rng = np.random.default_rng(1)
    grey = rng.uniform(0, 1, (23, 23))
    bgr = np.stack([grey * 255 - mean for mean in vgg_m.MEANS], -1)
    expected = reference_convolution(
        bgr, layers["conv1"]["kernel"].astype(np.float64), layers["conv1"]["bias"], 2, (0, 0)
    )
    first = vgg_m.grey(layers)["conv1"]
    found = reference_convolution(
        grey[..., None] * 255, first["kernel"].astype(np.float64), first["bias"], 2, (0, 0)
    )
    assert (
        np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    )  # kernels and bias rounded to float32


# --- networks --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "member, picture, kind",
    [
        (LITE0, "flower.jpg", 985),  # daisy, in the order of ImageNet's classes
        (LITE1, "flower.jpg", 985),
        (LITE2, "china.jpg", 698),  # palace; it takes the flower for a honeycomb, a cricket or a bee
    ],
    ids=lambda value: getattr(value, "title", ""),
)
def test_the_imagenet_weights_know_what_a_picture_shows(member, picture, kind):
    from PIL import Image
    from sklearn.datasets import load_sample_image

    try:
        variables = member.fold(state := read_torch_file(member.installed()))
    except UserError as error:
        pytest.skip(str(error))
    shown = Image.fromarray(load_sample_image(picture)).resize(
        (member.BACKBONE.window,) * 2, Image.Resampling.BICUBIC
    )
    rgb = (np.asarray(shown, np.float32)[None] - 127) / 128
    scale = state["_bn0.weight"] / np.sqrt(state["_bn0.running_var"] + 1e-3)
    stem = (state["_conv_stem.weight"] * scale[:, None, None, None]).transpose(2, 3, 1, 0)
    # the colour stem: feed pictures as if grey by undoing the grey recipe, through a copy with the RGB kernel
    variables["stem"] = {**variables["stem"], "kernel": stem}
    features = jax.jit(member.whole_image)(variables, jnp.asarray((rgb * 128 + 127) / 255))
    logits = np.asarray(features)[0] @ state["_fc.weight"].T + state["_fc.bias"]
    assert int(np.argmax(logits)) == kind


@pytest.mark.parametrize("name", [pytest.param("lite_stride8", marks=pytest.mark.slow), "thin_network"])
def test_the_merged_graph_has_the_score_and_the_gradient_of_the_two_stages(request, name):
    network = request.getfixturevalue(name)
    made = plan((200, 150), network.backbone, 4, tap=network.tap)
    pixels = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (2, *made.input_shape, 1)), jnp.float32)
    channels = network.layers["fc6"]["bias"].shape[0] if name == "thin_network" else network.channels
    classifier = Classifier(channels, 4, filters=(8, 8), hidden=(8,), rngs=nnx.Rngs(0))
    net = MammogramNet(network, classifier)
    slopes = jnp.asarray([1.0, -2.0])
    scores, merged = nnx.jit(
        nnx.value_and_grad(lambda n: (lambda s: (s @ slopes, s))(n(pixels, made)), has_aux=True)
    )(net)
    # stage one and stage two apart, chained by their pull-backs
    graph, state = nnx.split(network, nnx.Param)
    representation, to_weights = jax.vjp(jax.jit(lambda s: scan(nnx.merge(graph, s), pixels, made)), state)
    graph, state, rest = nnx.split(classifier, nnx.Param, ...)
    two, to_both = jax.vjp(jax.jit(lambda s, r: nnx.merge(graph, s, rest)(r)), state, representation)
    for_classifier, for_representation = to_both(slopes)
    (for_scanning,) = to_weights(for_representation)
    assert np.allclose(
        scores[1], two, rtol=1e-5, atol=1e-5
    )  # float32 sums of one graph fused in another order
    for part, expected in (("classifier", for_classifier), ("scanning", for_scanning)):
        found, expected = jax.tree.leaves(merged[part]), jax.tree.leaves(expected)
        assert sum(float(jnp.abs(e).sum()) for e in expected) > 0
        for a, b in zip(found, expected, strict=True):
            # rounding may turn single ReLU and maximum switches: the norm, not each element
            assert jnp.linalg.norm(a - b) <= 1e-3 * jnp.linalg.norm(b) + 1e-6


def test_depths_count_the_layers_from_the_pixels_so_that_the_first_can_be_frozen(lite, thin_network):
    depths = {}
    for network in (lite, thin_network):
        net = MammogramNet(network, Classifier(4, 4, filters=(4,), hidden=(4,), rngs=nnx.Rngs(0)))
        params = nnx.state(net, nnx.Param)
        found = jax.tree_util.tree_map_with_path(
            lambda path, _, b=network.backbone: layer_depth(path, b), params
        )
        depths[network.backbone.name] = found
    vgg = depths["vgg_m"]["scanning"]["layers"]
    assert [jax.tree.leaves(vgg[f"conv{i}"])[0] for i in range(1, 6)] == [0, 1, 2, 3, 4]
    assert set(jax.tree.leaves(vgg["fc6"])) == {5} and set(
        jax.tree.leaves(depths["vgg_m"]["classifier"])
    ) == {6}
    blocks = depths["efficientnet_lite0"]["scanning"]["layers"]
    assert jax.tree.leaves(blocks["stem"])[0] == 0 and jax.tree.leaves(blocks["head"])[0] == 17
    assert {jax.tree.leaves(blocks[f"block10_{p}"])[0] for p in ("expand", "depthwise", "project")} == {11}
    with pytest.raises(ValueError, match="is no parameter of a network on vgg_m"):
        layer_depth(("optimiser", "layers", "conv1"), VGG)


# --- strips ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rows", [104, 107, 211, 330, 331, 333, 500])
def test_first_maps_in_strips_of_rows_are_those_of_the_whole_image(thin_network, rows):
    variables = thin_network.variables()
    pixels = jnp.asarray(np.random.default_rng(rows).uniform(0, 1, (1, rows, 150, 1)), jnp.float32)
    for padding in ("own", "valid"):
        steps = vgg_m.layers(variables, "pool5", (1, 1), padding=padding)[:3]
        whole = jax.jit(lambda x, steps=steps: in_turn(steps, x))(pixels)
        strips = jax.jit(functools.partial(vgg_m.in_strips_to_pool1, steps, 1, padding == "own"))(pixels)
        assert whole.shape == strips.shape and np.array_equal(whole, strips)


def test_blocks_in_strips_of_rows_are_those_of_the_whole_map(lite):
    for rows in (200, 214):  # a whole number of strips, and a rest
        pixels = jnp.asarray(np.random.default_rng(0).uniform(0, 255, (1, rows, 128, 1)), jnp.float32)
        found = []
        for in_caches in (None, 0):
            steps = LITE0.layers(lite.variables(), "stride8", in_caches=in_caches)
            found.append(jax.jit(functools.partial(in_turn, steps))(pixels))
        assert np.allclose(*found, rtol=1e-5, atol=1e-5)  # float32 sums, split otherwise


# --- precision -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [pytest.param("lite_stride8", marks=pytest.mark.slow), "thin_network"])
def test_bfloat16_products_stay_near_float32_and_have_a_gradient(request, name):
    network = request.getfixturevalue(name)
    made = plan((200, 150), network.backbone, 4, tap=network.tap)
    pixels = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (1, *made.input_shape, 1)), jnp.float32)
    graph, state = nnx.split(network)

    def of(dtype):
        def loss(state):
            representation = scan(nnx.merge(graph, state), pixels, made, dtype=dtype)
            return jnp.mean(representation**2), representation

        (_, representation), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(state)
        leaves = [leaf.astype(jnp.float32).ravel() for leaf in jax.tree.leaves(gradient)]
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(gradient))
        assert representation.dtype == jnp.float32
        return representation, jnp.concatenate(leaves)

    (exact, slopes), (near, near_slopes) = of(jnp.float32), of(jnp.bfloat16)
    # bfloat16 keeps 8 bits, 0.2% by rounding; the roundings of up to thirty layers in a row add up like noise
    assert 0 < jnp.linalg.norm(near - exact) < 0.03 * jnp.linalg.norm(exact)
    assert jnp.linalg.norm(near_slopes - slopes) < 0.3 * jnp.linalg.norm(
        slopes
    )  # switches of ReLU and maxima turn


def test_bfloat16_products_do_not_round_the_pixels(thin_network):
    # the smallest step of 12 bits, which bfloat16 has not: 204 and 204.06 are one number to it
    pixels = jnp.full((1, 110, 110, 1), 0.8).at[:, :, 55:].add(1 / 4095)
    variables = thin_network.variables()
    kernel = variables["conv1"]["kernel"]
    edges = {"kernel": kernel - kernel.mean((0, 1, 2)), "bias": jnp.zeros(12)}  # silent where nothing changes
    conv1 = vgg_m.layers({**variables, "conv1": edges}, "fc6", (1, 1), dtype=jnp.bfloat16)[0][1]
    response = conv1(pixels * 255)
    assert response.dtype == jnp.bfloat16
    assert response[:, :, 49:55].max() > 100 * jnp.abs(response[:, :, :49]).max()


def test_whole_image_features_have_the_width_of_the_networks_own_head(lite):
    assert jax.eval_shape(lambda x: whole_image_features(lite, x), jnp.zeros((1, 64, 64, 1))).shape == (
        1,
        1280,
    )


def test_vgg_m_without_weights_says_so_loudly_and_with_a_file_uses_it(tmp_path):
    from safetensors.numpy import save_file

    with pytest.warns(UserWarning, match="RANDOM weights"):
        random = load_backbone("vgg_m", seed=3)
    assert "RANDOM" in random.provenance
    layers = random_layers(vgg_m.SHAPES, 3)
    save_file(
        {f"{n}.{part}": v for n, layer in layers.items() for part, v in layer.items()},
        tmp_path / "m.safetensors",
    )
    loaded = load_backbone("vgg_m", weights=str(tmp_path / "m.safetensors"))
    assert "RANDOM" not in loaded.provenance and loaded.identity != random.identity
    assert np.array_equal(loaded.variables()["fc6"]["kernel"], random.variables()["fc6"]["kernel"])
    made = plan((339, 300), loaded.backbone, 3)
    graph, state = nnx.split(loaded)
    pixels = np.zeros((1, *made.input_shape, 1), np.float32)
    assert jax.jit(lambda s, x: scan(nnx.merge(graph, s), x, made))(state, pixels).shape == (1, 3, 3, 4096)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: load_backbone("resnet"), "unknown backbone 'resnet'; known are efficientnet_lite0, "),
        (lambda: load_backbone("efficientnet_lite0", weights="absent.pth"), "absent.pth is absent"),
        (lambda: load_backbone("vgg_m", weights="absent.safetensors"), "cannot be read"),
        (lambda: plan((10, 10), LITE, 0), "config.model.np is 0"),
        (lambda: Classifier(8, 4, filters=(), rngs=nnx.Rngs(0)), "cannot be built"),
    ],
)
def test_errors_say_what_was_got_and_what_is_expected(call, says):
    with pytest.raises(UserError, match=says):
        call()


def test_an_unknown_tap_names_the_known_ones(lite):
    with pytest.raises(UserError, match="unknown tap 'fc7'.*stride16"):
        load_backbone("efficientnet_lite0", tap="fc7")


@pytest.mark.parametrize("cells", [1, 2, 4, 15, 30])
def test_the_classifier_pools_any_np_down_to_one_score_an_image(cells):
    model = Classifier(5, cells, filters=(4, 4, 4), hidden=(4,), rngs=nnx.Rngs(0))
    scores = model(jnp.ones((3, cells, cells, 5)))
    assert scores.shape == (3,) and len(set(np.asarray(scores).round(5))) == 1
    model.set_normalisation(np.ones(5), np.full(5, 2.0))
    standardised = model(jnp.ones((1, cells, cells, 5)))
    model.set_normalisation(np.zeros(5), np.ones(5))
    assert np.allclose(standardised, model(jnp.zeros((1, cells, cells, 5))))
