"""Sizes layer by layer: the published ones, those of the networks when they run, and what a cell sees."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mammojax.inspect.layer_sizes import classifier_sizes, scanning_sizes, table
from mammojax.models.backbones import vgg_m
from mammojax.models.backbones.contract import Layer
from mammojax.models.classifiers.paper import Classifier
from mammojax.models.plans import backbone_module, plan
from mammojax.models.scanning import pooled


def test_vgg_m_of_an_image_of_224_pixels_has_the_published_sizes():
    # Chatfield et al. 2014, CNN-M: 7 x 7 by 2, pools of 3 by 2 in ceil mode, 5 x 5 by 2 with pad 1. The fields are
    # field + (kernel - 1) times the product of the strides before
    native = plan((224, 224), vgg_m.BACKBONE, 1)
    native = dataclasses.replace(native, input_shape=(224, 224), first_strides=(2, 2))
    expected = {
        "conv1": (109, 96, 7),
        "lrn1": (109, 96, 7),
        "pool1": (54, 96, 11),
        "conv2": (26, 256, 27),
        "lrn2": (26, 256, 27),
        "pool2": (13, 256, 43),
        "conv3": (13, 512, 75),
        "conv4": (13, 512, 107),
        "conv5": (13, 512, 139),
        "pool5": (6, 512, 171),
        "fc6": (1, 4096, 224),  # 331, more than the image has
    }
    sizes = scanning_sizes(native)
    assert {s.name: (s.output[0], s.channels, s.sees[0]) for s in sizes} == expected
    assert all(s.output[0] == s.output[1] and s.sees[0] == s.sees[1] for s in sizes)
    kernels = {"conv1": 7, "conv2": 5, "conv3": 3, "conv4": 3, "conv5": 3, "fc6": 6}
    channels = [1, 96, 256, 512, 512, 512, 4096]
    numbers = {n: k * k * a * b + b for (n, k), a, b in zip(kernels.items(), channels, channels[1:])}
    assert {s.name: s.parameters for s in sizes if s.parameters} == numbers


@pytest.mark.parametrize(
    "name, tap", [("vgg_m", "pool5"), ("vgg_16", "pool5"), ("efficientnet_lite0", "stride8")]
)
def test_the_sizes_are_those_of_the_networks_when_they_run(name, tap):
    module = backbone_module(name)
    made = plan((70, 50), module.BACKBONE, 2, tap=tap)
    sizes = scanning_sizes(made)
    variables = {
        layer: {"kernel": np.zeros(shape, np.float32), "bias": np.zeros(shape[-1], np.float32)}
        for layer, shape in module.grey_shapes().items()
        if layer != "fc6"
    }
    own = {"first_strides": made.first_strides} if made.first_strides else {}
    steps = module.layers(variables, tap, **own)
    x = jnp.zeros((1, *made.input_shape, 1))
    for (layer, step), size in zip(steps, sizes):
        x = step(x)
        assert (layer, x.shape) == (size.name, (1, *size.output, size.channels))
    last = sizes[-1]
    assert pooled(x, made).shape == (1, *last.output, last.channels) and last.output == (2, 2)
    assert len(sizes) == len(steps) + (made.window is not None)


def test_only_parameters_up_to_the_tap_are_counted():
    # the default tap ends after eleven of sixteen blocks
    made = [
        plan((500, 400), backbone_module("efficientnet_lite0").BACKBONE, 4, tap=t)
        for t in ("stride16", "head")
    ]
    counts = [sum(s.parameters for s in scanning_sizes(m)) for m in made]
    shapes = backbone_module("efficientnet_lite0").grey_shapes()
    early = {f"block{i}" for i in range(11)} | {"stem"}
    numbers = {n: int(np.prod(shape)) + shape[-1] for n, shape in shapes.items()}
    assert counts == [sum(v for n, v in numbers.items() if n.split("_")[0] in early), sum(numbers.values())]


@pytest.mark.parametrize("name", ["vgg_m", "vgg_16", "efficientnet_lite0"])
def test_a_cell_of_the_representation_sees_its_window(name):
    made = plan((3000, 2200), backbone_module(name).BACKBONE, 15)
    top, left, bottom, right = np.moveaxis(made.cell_windows(), -1, 0)
    sees = scanning_sizes(made)[-1].sees
    assert sees[0] - 1 < (bottom - top).max() <= sees[0] and sees[1] - 1 < (right - left).max() <= sees[1]


@pytest.mark.parametrize("cells", [1, 2, 15, 64])
def test_the_classifier_ends_in_one_score_whatever_np_and_has_the_parameters_of_the_real_one(cells):
    made = plan((500, 400), vgg_m.BACKBONE, cells)
    sizes = classifier_sizes(made, 24, filters=(8, 8), hidden=(6,))
    model = Classifier(24, cells, filters=(8, 8), hidden=(6,), rngs=nnx.Rngs(0))
    assert model(jnp.zeros((3, cells, cells, 24))).shape == (3,)
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
    assert sum(s.parameters for s in sizes) == sum(leaf.size for leaf in leaves)
    pools = [s for s in sizes if s.name.startswith("pool")]
    assert len(pools) == int(np.log2(cells)) and sizes[-1].output == (1, 1) and sizes[-1].channels == 1
    assert sizes[-1].sees == (500, 400)


def test_a_contract_that_does_not_tell_the_truth_is_noticed(monkeypatch):
    tap = vgg_m.BACKBONE.tap("fc6")
    layers = [Layer(3, 1, 0) if layer == Layer(3, 1, 1) else layer for layer in tap.layers]
    made = plan((400, 400), vgg_m.BACKBONE, 3)
    wrong = dataclasses.replace(vgg_m.BACKBONE, taps=(dataclasses.replace(tap, layers=tuple(layers)),))
    monkeypatch.setattr(vgg_m, "BACKBONE", wrong)
    with pytest.raises(ValueError, match=r"vgg_m conv3 gives .* cells, by its contract"):
        scanning_sizes(made)


def test_the_table_has_a_line_a_layer_in_equal_columns():
    sizes = scanning_sizes(plan((4084, 3328), vgg_m.BACKBONE, 15))
    lines = table(sizes)
    assert len(lines) == 1 + len(sizes) and len({len(line) for line in lines}) == 1
    assert " ".join(lines[1].split()) == "conv1 7 x 7 7 x 6 none 333 x 333 96 13 x 13 4,800"
    assert "15 x 15" in lines[-1] and "75,501,568" in lines[-1]
