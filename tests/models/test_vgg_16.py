"""VGG-16 against an implementation in numpy float64 on three channels that shares nothing with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mammojax.errors import UserError
from mammojax.models.backbones import vgg_16
from mammojax.models.backbones.contract import output_side, scan_side
from mammojax.models.classifiers.paper import Classifier
from mammojax.models.merged import MammogramNet, layer_depth
from mammojax.models.plans import plan
from mammojax.models.scanning import ScanningNetwork, load_backbone, scan, whole_image_features
from mammojax.models.weights.converted import Weights, write_weights
from mammojax.models.weights.random import random_layers
from mammojax.models.windows import scan_windows

BACKBONE = vgg_16.BACKBONE
BLOCKS = ("conv1_1 conv1_2", "conv2_1 conv2_2", "conv3_1 conv3_2 conv3_3", "conv4_1 conv4_2 conv4_3")
BLOCKS = [block.split() for block in (*BLOCKS, "conv5_1 conv5_2 conv5_3")]
RECIPES = pytest.mark.parametrize("recipe", [vgg_16.TORCHVISION, vgg_16.KERAS], ids=["torchvision", "keras"])


def windows(x, size, stride=(1, 1)):
    """[h', w', c, size, size] of every window of a map [h, w, c]."""
    seen = np.lib.stride_tricks.sliding_window_view(x, (size, size), (0, 1))
    return seen[:: stride[0], :: stride[1]]


def convolved(x, layer, pad=1, stride=(1, 1)):
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    kernel = layer["kernel"].astype(np.float64)
    found = np.einsum("hwcij,ijco->hwo", windows(x, kernel.shape[0], stride), kernel, optimize=True)
    return np.maximum(found + layer["bias"], 0)


def colour(grey, recipe):
    """float64[h, w, 3]: a grey image in 0..1 as the published network gets it, by its publishers' words."""
    if recipe is vgg_16.TORCHVISION:  # RGB, of 1
        return (grey[..., None] - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return 255 * grey[..., None] - [103.939, 116.779, 123.68]  # BGR


def reference(layers, x, pad=1, stride=(1, 1)):
    """{layer: map} of an image float64[h, w, 3] as it enters the published network."""
    maps = {}
    for number, block in enumerate(BLOCKS, 1):
        for name in block:
            x = maps[name] = convolved(x, layers[name], pad, stride if name == "conv1_1" else (1, 1))
        x = maps[f"pool{number}"] = windows(x, 2, (2, 2)).max((-2, -1))
    if "fc6" in layers:
        maps["fc6"] = convolved(x, layers["fc6"], 0)
    return maps


def thin_layers():
    """Colour layers of VGG-16's wiring with few channels and fc6: float64 sums are cheap at any size."""
    rng = np.random.default_rng(0)
    names = [*vgg_16.SHAPES, "fc6"]
    widths = [3, *(v for v, block in zip((6, 8, 8, 8, 8), BLOCKS) for _ in block), 10]
    sides = [3] * 13 + [7]
    return {
        name: {
            "kernel": rng.normal(0, np.sqrt(2 / (k * k * a)), (k, k, a, b)).astype(np.float32),
            "bias": rng.normal(0, 0.1, b).astype(np.float32),
        }
        for name, k, a, b in zip(names, sides, widths, widths[1:])
    }


@pytest.fixture(scope="module")
def thin_network():
    return ScanningNetwork("vgg_16", "fc6", vgg_16.grey(thin_layers(), vgg_16.TORCHVISION), "random", "thin")


@RECIPES
def test_every_layer_of_the_grey_network_is_the_colour_network_on_three_equal_channels(recipe):
    layers = random_layers(vgg_16.SHAPES, 0)
    rng = np.random.default_rng(1)
    for layer in layers.values():
        layer["bias"] = rng.normal(0, 0.1, layer["bias"].shape).astype(np.float32)
    grey = rng.integers(0, 4096, (35, 66)) / 4095  # both odd and even maps on the way, and 1 x 2 cells
    expected = reference(layers, colour(grey, recipe))
    steps = vgg_16.layers(vgg_16.grey(layers, recipe), "pool5")
    assert [name for name, _ in steps] == list(expected)
    x = jnp.asarray(255 * grey[None, ..., None], jnp.float32)
    for name, step in steps:
        x = jax.jit(step)(x)
        found = np.asarray(x, np.float64)[0]
        assert found.shape == expected[name].shape, name
        # float32 against float64: sums of up to 4608 products, rounding handed on from layer to layer
        assert np.abs(found - expected[name]).max() < 1e-5 * np.abs(expected[name]).max(), name
    assert x.shape == (1, 1, 2, 512) and float(x.max()) > 0


@RECIPES
def test_the_border_is_padded_with_the_mean_colour_and_not_with_what_one_bias_for_all_would_give(recipe):
    layers = random_layers(vgg_16.SHAPES, 0)
    grey = np.zeros((6, 6))  # black, as around a breast: the largest step to the mean colour
    expected = reference(layers, colour(np.pad(grey, 16), recipe))["conv1_1"][16:-16, 16:-16]
    exact = reference(layers, colour(np.pad(grey, ((0, 30), (0, 30))), recipe))["conv1_1"][:6, :6]
    x = jnp.zeros((1, 6, 6, 1))
    found = np.asarray(vgg_16.layers(vgg_16.grey(layers, recipe), "pool5")[0][1](x))[0]
    scale = np.abs(expected).max()
    assert np.abs(found[:5, :5] - exact[:5, :5]).max() < 1e-5 * scale
    # one bias for all places is padding with black: the border then is as the inside, and the network's own is not
    assert np.abs(exact[0] - expected[0]).max() > 0.1 * scale


@pytest.mark.parametrize("padding", ["own", "valid"])
def test_strides_and_no_padding_and_fc6_are_the_reference_too(padding):
    layers, pad, tap = thin_layers(), int(padding == "own"), BACKBONE.tap("fc6")
    for strides in ((1, 1), (2, 3)):
        sides = [scan_side(BACKBONE, tap, padding, 1, s) for s in strides]
        grey = np.random.default_rng(3).uniform(0, 1, sides)
        expected = reference(layers, colour(grey, vgg_16.TORCHVISION), pad, strides)["fc6"]
        variables = vgg_16.grey(layers, vgg_16.TORCHVISION)
        x = jnp.asarray(grey[None, ..., None], jnp.float32)
        found = vgg_16.apply(variables, x, "fc6", strides, padding=padding)
        assert found.shape == (1, 1, 1, 10)
        assert np.abs(np.asarray(found)[0] - expected).max() < 1e-5 * expected.max()  # float32, as above


@pytest.mark.parametrize("tap, one", [("pool5", 31), ("fc6", 223)])
def test_the_side_for_np_cells_follows_the_formula_and_the_shapes(thin_network, tap, one):
    layers = BACKBONE.tap(tap).layers
    for stride in (1, 2, 3):
        for cells in (1, 15):
            side = scan_side(BACKBONE, BACKBONE.tap(tap), "own", cells, stride)
            assert side == 1 + stride * (one + 32 * (cells - 1))
            assert output_side(layers, side, stride) == cells
            shape = jax.eval_shape(
                lambda v, x, s=stride: vgg_16.apply(v, x, tap, (s, s)),
                thin_network.variables(),
                jax.ShapeDtypeStruct((1, side, side, 1), np.float32),
            ).shape
            assert shape[1:3] == (cells, cells)
    assert output_side(layers, 224) == (7 if tap == "pool5" else 1)  # the published input


def test_without_padding_the_graph_is_every_window_read_alone(thin_network):
    made = plan((300, 500), BACKBONE, 2, tap="fc6", padding="valid")
    pixels = np.random.default_rng(0).uniform(0, 1, (1, *made.input_shape, 1)).astype(np.float32)
    graph, state = nnx.split(thin_network)
    one, many = (
        np.asarray(jax.jit(lambda s, x, r=r: r(nnx.merge(graph, s), x, made))(state, pixels))
        for r in (scan, scan_windows)
    )
    assert one.shape == many.shape == (1, 2, 2, 10) and many.std() > 0
    assert np.abs(one - many).max() < 1e-5 * many.max()  # the same float32 sums in another order


def test_bfloat16_products_do_not_round_the_pixels(thin_network):
    # the smallest step of 12 bits, which bfloat16 has not, and a kernel that sees nothing but steps
    pixels = jnp.full((1, 8, 16, 1), 0.8).at[:, :, 8:].add(1 / 4095)
    variables = thin_network.variables()
    kernel = variables["conv1_1"]["kernel"]
    edges = {"kernel": kernel - kernel.mean((0, 1)), "bias": jnp.zeros(6)}
    first = vgg_16.layers({**variables, "conv1_1": edges}, "pool5", dtype=jnp.bfloat16)[0][1]
    response = first(pixels * 255)[:, 1:-1]  # without the border, which is a step too
    assert response.dtype == jnp.bfloat16
    assert response[:, :, 7:9].max() > 100 * jnp.abs(response[:, :, 1:7]).max()


def test_blocks_are_the_depths_that_can_be_frozen(thin_network):
    net = MammogramNet(thin_network, Classifier(10, 2, filters=(4,), hidden=(4,), rngs=nnx.Rngs(0)))
    depths = jax.tree_util.tree_map_with_path(
        lambda path, _: layer_depth(path, BACKBONE), nnx.state(net, nnx.Param)
    )
    layers = depths["scanning"]["layers"]
    assert {name: jax.tree.leaves(layers[name])[0] for name in ("conv1_1", "conv1_2", "conv5_3", "fc6")} == {
        "conv1_1": 0,
        "conv1_2": 0,
        "conv5_3": 4,
        "fc6": 5,
    }
    assert set(jax.tree.leaves(depths["classifier"])) == {6}


def test_without_weights_it_says_loudly_that_they_are_random_and_how_to_get_the_published_ones():
    with pytest.warns(UserWarning, match="RANDOM weights") as caught:
        network = load_backbone("vgg_16", seed=3)
    assert "RANDOM" in network.provenance and network.channels == 512
    text = str(caught[0].message)
    for part in (
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "python -m launch.convert_weights --backbone=vgg_16",
        "--config.model.weights=vgg_16.safetensors",
    ):
        assert part in text and "\n" not in text


def test_weights_without_a_head_give_features_of_whole_images_and_say_what_fc6_needs(thin_network):
    image = jnp.zeros((2, 224, 224, 1))
    assert jax.eval_shape(lambda x: whole_image_features(thin_network, x), image).shape == (2, 10)
    layers = thin_layers()
    del layers["fc6"]
    headless = ScanningNetwork("vgg_16", "fc6", vgg_16.grey(layers, vgg_16.KERAS), "random", "thin")
    assert jax.eval_shape(lambda x: whole_image_features(headless, x), image).shape == (2, 8)
    with pytest.raises(
        UserError, match=r"have no fc6; choose --config.model.tap=pool5, or download vgg16-3979"
    ):
        scan(
            headless,
            jnp.zeros((1, *plan((300, 300), BACKBONE, 1, tap="fc6").input_shape, 1)),
            plan((300, 300), BACKBONE, 1, tap="fc6"),
        )


@RECIPES
def test_a_converted_file_keeps_its_input_recipe(tmp_path, recipe):
    layers, path = random_layers(vgg_16.SHAPES, 3), tmp_path / "vgg_16.safetensors"
    (tmp_path / "published").write_bytes(b"x")
    write_weights(path, "vgg_16", Weights(layers, recipe), tmp_path / "published")
    variables, provenance, _ = vgg_16.load(str(path), 0)
    assert "published" in provenance
    expected = vgg_16.grey(layers, recipe)
    assert np.array_equal(variables["conv1_1"]["kernel"], expected["conv1_1"]["kernel"])
    assert np.array_equal(variables["conv5_3"]["kernel"], layers["conv5_3"]["kernel"])
    write_weights(path, "vgg_16", Weights(layers), tmp_path / "published")
    with pytest.raises(UserError, match="does not say how pixels enter it"):
        vgg_16.load(str(path), 0)
