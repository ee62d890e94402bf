"""Converted files: whole, of the right network, with their provenance, or one clear line."""

import json
import os

import numpy as np
import pytest

from mammojax.errors import UserError
from mammojax.models.backbones import vgg_16, vgg_m
from mammojax.models.backbones.efficientnet_lite import LITE0
from mammojax.models.scanning import load_backbone
from mammojax.models.weights.converted import Recipe, Weights, check_layers, read_weights, write_weights
from mammojax.models.weights.torch_file import read_torch_file

RECIPE = Recipe("BGR", (101.5, 114.25, 122.0), (1.0, 2.0, 4.0))


def layers(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"conv1": (3, 3, 3, 4), "conv2": (1, 1, 4, 2)}
    return {
        name: {
            "kernel": rng.normal(size=s).astype(np.float32),
            "bias": rng.normal(size=s[-1]).astype(np.float32),
        }
        for name, s in shapes.items()
    }


@pytest.fixture
def converted(tmp_path):
    source = tmp_path / "published.mat"
    source.write_bytes(b"the published file")
    path = tmp_path / "w.safetensors"
    write_weights(path, "vgg_m", Weights(layers(), RECIPE, {"source_format": "made up"}), source)
    return path


def test_a_converted_file_gives_back_the_tensors_the_recipe_and_where_they_come_from(converted):
    found = read_weights(converted, "vgg_m")
    for name, layer in layers().items():
        for part, values in layer.items():
            assert np.array_equal(found.layers[name][part], values)
    assert found.recipe == RECIPE
    assert found.facts["source"] == "published.mat" and found.facts["source_format"] == "made up"
    assert found.facts["source_sha256"].startswith("fba1006a5b491402")  # by sha256sum
    assert "published.mat" in found.describe(converted)
    assert sorted(p.name for p in converted.parent.iterdir()) == ["published.mat", "w.safetensors"]


def test_any_changed_byte_of_the_tensors_is_noticed(converted):
    data = bytearray(converted.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    for place in (start, start + 101, len(data) - 1):
        changed = data.copy()
        changed[place] ^= 1
        converted.write_bytes(changed)
        with pytest.raises(UserError, match="is damaged: its checksum"):
            read_weights(converted, "vgg_m")


def test_truncated_and_foreign_files_are_one_line_errors(converted):
    data = converted.read_bytes()
    rng = np.random.default_rng(0)
    for damaged in (
        *(data[:n] for n in (0, 7, 8, 20, len(data) // 2, len(data) - 1)),
        rng.bytes(300),
        b"PK\x03\x04",
    ):
        converted.write_bytes(damaged)
        with pytest.raises(UserError, match="is no safetensors file of vgg_m") as caught:
            read_weights(converted, "vgg_m")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="cannot be read"):
        read_weights(converted.with_name("absent"), "vgg_m")


@pytest.mark.parametrize(
    "recipe", ["{}", "[1]", '{"order": "GBR", "means": [1, 2, 3], "deviations": [1, 1, 1]}']
)
def test_a_recipe_that_cannot_be_is_refused(converted, recipe):
    data = converted.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"]["recipe"] = recipe
    text = json.dumps(header).encode()
    converted.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(UserError, match="is no safetensors file of vgg_m"):
        read_weights(converted, "vgg_m")


@pytest.mark.parametrize("module", [LITE0, vgg_16])
def test_weights_of_another_network_are_refused(converted, module):
    with pytest.raises(UserError, match=f"holds weights of 'vgg_m', expected '{module.BACKBONE.name}'"):
        module.load(str(converted), 0)


def test_the_identity_changes_with_a_number_or_the_recipe_and_not_with_the_file(converted, tmp_path):
    (tmp_path / "other.mat").write_bytes(b"another file of the same numbers")
    write_weights(tmp_path / "b", "vgg_m", Weights(layers(), RECIPE), tmp_path / "other.mat")
    identity = read_weights(converted, "vgg_m").identity
    assert identity == read_weights(tmp_path / "b", "vgg_m").identity
    assert identity != Weights(layers(1), RECIPE).identity
    assert identity != Weights(layers(), Recipe("BGR", RECIPE.means)).identity


def test_a_failed_write_leaves_what_was_there(converted, monkeypatch):
    before = converted.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="cannot write"):
        write_weights(converted, "vgg_m", Weights(layers(1)), converted.with_name("published.mat"))
    assert converted.read_bytes() == before and len(list(converted.parent.iterdir())) == 2


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda w: w.pop("conv2"), "it has no conv2.kernel"),
        (lambda w: w["conv2"].pop("bias"), "it has no conv2.bias"),
        (lambda w: w["conv1"].update(kernel=np.zeros((3, 3, 3, 5), np.float32)), r"expected \[3, 3, 3, 4\]"),
        (lambda w: w["conv1"].update(bias=np.zeros(4, np.int32)), r"int32\[4\], expected"),
        (lambda w: w["conv1"]["bias"].fill(np.nan), "not finite"),
    ],
)
def test_layers_that_are_not_the_networks_are_named(tmp_path, change, says):
    wrong, shapes = layers(), {name: layer["kernel"].shape for name, layer in layers().items()}
    check_layers(wrong, shapes, tmp_path)
    change(wrong)
    with pytest.raises(UserError, match=says):
        check_layers(wrong, shapes, tmp_path)


def test_the_grey_kernel_of_a_recipe_is_the_colour_kernel_on_three_equal_channels():
    rng = np.random.default_rng(0)
    kernel, grey = rng.normal(size=(5, 5, 3, 7)), rng.uniform(0, 255, (5, 5))
    slope, offset = RECIPE.grey(kernel)
    normalised = (grey[..., None] - RECIPE.means) / RECIPE.deviations
    expected = np.einsum("hwc,hwco->o", normalised, kernel)
    found = np.einsum("hw,hwo->o", grey, slope) - offset.sum((0, 1))
    assert np.allclose(found, expected, rtol=1e-12)  # float64


def test_efficientnet_lite0_converted_is_the_installed_file_bit_by_bit(tmp_path):
    try:
        source = LITE0.installed()
    except UserError as error:
        pytest.skip(str(error))
    path = tmp_path / "lite.safetensors"
    write_weights(path, "efficientnet_lite0", LITE0.convert(source), source)
    direct, converted = (
        load_backbone("efficientnet_lite0"),
        load_backbone("efficientnet_lite0", weights=str(path)),
    )
    for name, layer in direct.variables().items():
        for part, values in layer.items():
            assert np.array_equal(values, converted.variables()[name][part]), (name, part)
    assert source.name in converted.provenance


def test_a_torch_file_of_a_network_of_the_same_names_and_other_sizes_is_refused(tmp_path, monkeypatch):
    try:
        state = dict(read_torch_file(LITE0.installed()))
    except UserError as error:
        pytest.skip(str(error))
    state["_blocks.5._depthwise_conv.weight"] = state["_blocks.5._depthwise_conv.weight"][:, :, 1:-1, 1:-1]
    monkeypatch.setattr("mammojax.models.backbones.efficientnet_lite.read_torch_file", lambda path: state)
    with pytest.raises(UserError, match=r"block5_depthwise.kernel is .*expected \[3, 3, 1, 240\]"):
        LITE0.convert(tmp_path / "lite1.pth")


def test_a_published_file_given_as_weights_is_answered_with_the_converter(tmp_path):
    (tmp_path / "vgg16.pth").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
    with pytest.raises(UserError, match="is no safetensors file of vgg_16.*python -m launch.convert_weights"):
        vgg_16.load(str(tmp_path / "vgg16.pth"), 0)


def test_vgg_m_without_weights_says_loudly_that_they_are_random_and_how_to_get_the_published_ones(
    monkeypatch,
):
    monkeypatch.setattr(
        vgg_m, "random_layers", lambda shapes, seed: {"conv1": {"kernel": np.ones((7, 7, 3, 2)), "bias": 0.0}}
    )
    with pytest.warns(UserWarning, match="RANDOM weights") as caught:
        vgg_m.load(None, 0)
    text = str(caught[0].message)
    for part in (
        "https://www.vlfeat.org/matconvnet/models/imagenet-vgg-m.mat",
        "python -m launch.convert_weights --backbone=vgg_m --source=imagenet-vgg-m.mat",
        "--config.model.weights=vgg_m.safetensors",
    ):
        assert part in text and "\n" not in text


@pytest.mark.parametrize("name, what", [("", "is a folder"), ("none.pth", "is absent")])
def test_weights_that_are_no_file_are_called_what_they_are(name, what, tmp_path):
    with pytest.raises(UserError, match=f"{what}; give a file, or leave config.model.weights empty"):
        LITE0.load(str(tmp_path / name), 0)
