"""Scanning networks: what their weights know, the merged graph against its two stages, precision, and errors."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mammojax.errors import UserError
from mammojax.models.backbones import vgg_m
from mammojax.models.backbones.efficientnet_lite import LITE0, LITE1, LITE2
from mammojax.models.classifiers.paper import Classifier
from mammojax.models.merged import MammogramNet, layer_depth
from mammojax.models.scanning import load_backbone, plan, scan, whole_image_features
from mammojax.models.weights.random import random_layers
from mammojax.models.weights.torch_file import read_torch_file

LITE, VGG = LITE0.BACKBONE, vgg_m.BACKBONE


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


@functools.cache
def stage_one(backbone, tap, graph, dtype=jnp.float32):
    """Jitted (weights, pixels, slopes) -> (representation, pull-back of the slopes to the weights) of the plan of a film."""
    made = plan((200, 150), backbone, 4, tap=tap)

    @jax.jit
    def run(state, pixels, slopes):
        representation, pull = jax.vjp(lambda s: scan(nnx.merge(graph, s), pixels, made, dtype=dtype), state)
        return representation, pull(slopes)[0]

    return made, run


def read(network, dtype=jnp.float32):
    """(plan, weights, two films, representation of them, function from slopes to their pull-back)."""
    graph, state = nnx.split(network, nnx.Param)
    made, run = stage_one(network.backbone, network.tap, graph, dtype)
    pixels = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (2, *made.input_shape, 1)), jnp.float32)
    channels = network.layers["fc6"]["bias"].shape[0] if "fc6" in network.layers else network.channels
    nothing = jnp.zeros((2, made.cells, made.cells, channels))
    representation, _ = run(state, pixels, nothing)
    return made, pixels, representation, lambda slopes: run(state, pixels, slopes)[1]


@pytest.mark.parametrize("name", [pytest.param("lite_stride8", marks=pytest.mark.slow), "thin_network"])
def test_the_merged_graph_has_the_score_and_the_gradient_of_the_two_stages(request, name):
    network = request.getfixturevalue(name)
    made, pixels, representation, to_weights = read(network)
    classifier = Classifier(representation.shape[-1], 4, filters=(8, 8), hidden=(8,), rngs=nnx.Rngs(0))
    net = MammogramNet(network, classifier)
    slopes = jnp.asarray([1.0, -2.0])
    scores, merged = nnx.jit(
        nnx.value_and_grad(lambda n: (lambda s: (s @ slopes, s))(n(pixels, made)), has_aux=True)
    )(net)
    # stage one and stage two apart, chained by their pull-backs
    graph, state, rest = nnx.split(classifier, nnx.Param, ...)

    @jax.jit
    def classified(state, representation):
        two, pull = jax.vjp(lambda s, r: nnx.merge(graph, s, rest)(r), state, representation)
        return two, *pull(slopes)

    two, for_classifier, for_representation = classified(state, representation)
    for_scanning = to_weights(for_representation)
    assert np.allclose(
        scores[1], two, rtol=1e-5, atol=1e-5
    )  # float32 sums of one graph fused in another order
    for part, expected in (("classifier", for_classifier), ("scanning", for_scanning)):
        found, expected = (list(map(np.asarray, jax.tree.leaves(x))) for x in (merged[part], expected))
        assert sum(float(np.abs(e).sum()) for e in expected) > 0
        for a, b in zip(found, expected, strict=True):
            # rounding may turn single ReLU and maximum switches: the norm, not each element
            assert np.linalg.norm(a - b) <= 1e-3 * np.linalg.norm(b) + 1e-6


def test_depths_count_the_layers_from_the_pixels_so_that_the_first_can_be_frozen(lite, thin_network):
    depths = {}
    for network in (lite, thin_network):
        net = nnx.eval_shape(
            lambda n=network: MammogramNet(n, Classifier(4, 4, filters=(4,), hidden=(4,), rngs=nnx.Rngs(0)))
        )
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


# --- precision -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [pytest.param("lite_stride8", marks=pytest.mark.slow), "thin_network"])
def test_bfloat16_products_stay_near_float32_and_have_a_gradient(request, name):
    network = request.getfixturevalue(name)

    def of(dtype):
        _, _, representation, to_weights = read(network, dtype)
        gradient = jax.tree.leaves(to_weights(2 * representation / representation.size))  # of the mean square
        assert all(leaf.dtype == jnp.float32 for leaf in gradient)
        assert representation.dtype == jnp.float32
        return np.asarray(representation), np.concatenate([np.ravel(leaf) for leaf in gradient])

    (exact, slopes), (near, near_slopes) = of(jnp.float32), of(jnp.bfloat16)
    # bfloat16 keeps 8 bits, 0.2% by rounding; the roundings of up to thirty layers in a row add up like noise
    assert 0 < np.linalg.norm(near - exact) < 0.03 * np.linalg.norm(exact)
    # switches of ReLU and maxima turn
    assert np.linalg.norm(near_slopes - slopes) < 0.3 * np.linalg.norm(slopes)


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


def test_vgg_m_without_weights_says_so_loudly_and_with_a_file_uses_it(tmp_path, monkeypatch):
    from safetensors.numpy import save_file

    widths = (3, 8, 8, 8, 8, 8, 24)  # the published ones take a gigabyte
    shapes = zip(vgg_m.SHAPES.items(), itertools.pairwise(widths))
    monkeypatch.setattr(vgg_m, "SHAPES", {name: (*shape[:2], *wide) for (name, shape), wide in shapes})
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
    assert jax.jit(lambda s, x: scan(nnx.merge(graph, s), x, made))(state, pixels).shape == (1, 3, 3, 24)


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
    score = nnx.jit(lambda model, maps: model(maps))
    scores = np.asarray(score(model, jnp.ones((3, cells, cells, 5))))
    assert scores.shape == (3,) and len(set(scores.round(5))) == 1
    model.set_normalisation(np.ones(5), np.full(5, 2.0))
    standardised = score(model, jnp.ones((3, cells, cells, 5)))
    model.set_normalisation(np.zeros(5), np.ones(5))
    assert np.allclose(standardised, score(model, jnp.zeros((3, cells, cells, 5))), atol=1e-6)
