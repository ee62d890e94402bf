"""Files as torch writes them, old and new, written by hand: torch itself is not asked."""

import collections
import io
import pickle
import struct
import zipfile

import numpy as np

from mammojax.models.weights.torch_file import read_torch_file


class Storage:
    """Stands for a torch storage when a file is made."""

    def __init__(self, key, values):
        self.key, self.values = key, np.asarray(values, np.float32)


class Name:
    """A global that a pickle refers to by module and name."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Instance:
    """An object that is made by NEWOBJ or REDUCE of a name and arguments, and then given a state."""

    def __init__(self, name, arguments, state, made_by=pickle.REDUCE):
        self.name, self.arguments, self.state, self.made_by = name, arguments, state, made_by

    def write(self, writer):
        writer.save(self.name)
        writer.save(self.arguments)
        writer.write(self.made_by)
        if self.state is not None:
            writer.save(self.state)
            writer.write(pickle.BUILD)


TENSOR, PARAMETER = Name("torch", "FloatTensor"), Name("torch.nn.parameter", "Parameter")


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
        elif isinstance(thing, Instance):
            thing.write(self)
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


def zip_format(state, storages, compression=zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled(state))
        for s in storages:
            archive.writestr(f"archive/data/{s.key}", s.values.tobytes())
    return file.getvalue()


def read(tmp_path, data):
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    return read_torch_file(path)
