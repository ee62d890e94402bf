"""Torch state dicts without torch and without running code: a reader that can build arrays and nothing else.

Both formats: the old one (pickles of magic number, protocol, system facts, state dict, keys; then the storages) and the
zip archive. Strides are honoured after a bounds check: published files hold channels-last kernels.
"""

import collections
import io
import math
import pickle
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mammojax.errors import UserError

_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
_LIMIT = 2**33  # bytes: no published backbone comes near; stops a forged header before memory is taken


@dataclass
class _Storage:
    dtype: np.dtype
    count: int
    values: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    size: tuple
    stride: tuple


class _ArraysOnly(pickle.Unpickler):
    """Knows ordered dicts, tensors and storages; refuses every other name."""

    def __init__(self, file, storages: dict):
        super().__init__(file)
        self._storages = storages

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: _Tensor(
                storage, offset, tuple(size), tuple(stride)
            )
        if module == "torch" and name in _DTYPES:
            return name
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, identifier):
        kind, name, key, _, count = identifier[:5]
        if kind != "storage" or name not in _DTYPES or not isinstance(count, int) or not 0 <= count < _LIMIT:
            raise pickle.UnpicklingError("it holds a storage of an unknown kind")
        return self._storages.setdefault(str(key), _Storage(np.dtype(_DTYPES[name]), count))


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """{name: array} of a state dict; nested dicts are joined by dots.

    Raises UserError for a file that is truncated, is something else, or asks for anything but arrays; nothing in it
    is run.
    """
    data = Path(path).read_bytes()
    try:
        state, storages = _read_zip(data) if data[:2] == b"PK" else _read_old(data)
        for storage in storages.values():
            if storage.values is None:
                raise ValueError("a storage is absent")
        return {name: _array(tensor) for name, tensor in _flat(state)}
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        struct.error,
        zipfile.BadZipFile,
        OverflowError,
        RecursionError,
        UnicodeDecodeError,
        MemoryError,
    ) as error:
        raise UserError(
            f"{path} cannot be read as torch weights ({error}); nothing in it was run; download it again"
        ) from None


def _read_old(data: bytes):
    file, storages = io.BytesIO(data), {}
    head = [_ArraysOnly(file, storages).load() for _ in range(3)]
    if head[0] != _MAGIC:
        raise ValueError("the magic number is not torch's")
    state, keys = (_ArraysOnly(file, storages).load() for _ in range(2))
    for key in keys:
        storage = storages[str(key)]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.count:
            raise ValueError("a storage has another length than declared")
        storage.values = _values(file.read(count * storage.dtype.itemsize), storage)
    return state, storages


def _read_zip(data: bytes):
    storages: dict[str, _Storage] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (pickled,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
        if archive.getinfo(pickled).file_size > 2**27:
            raise ValueError("the table of contents is too large")
        state = _ArraysOnly(io.BytesIO(archive.read(pickled)), storages).load()
        for key, storage in storages.items():
            name = f"{pickled.removesuffix('data.pkl')}data/{key}"
            if archive.getinfo(name).file_size != storage.count * storage.dtype.itemsize:
                raise ValueError("a storage has another length than declared")
            storage.values = _values(archive.read(name), storage)
    return state, storages


def _values(data: bytes, storage: _Storage) -> np.ndarray:
    if len(data) != storage.count * storage.dtype.itemsize:
        raise ValueError("it is truncated")
    return np.frombuffer(data, storage.dtype)


def _flat(state, prefix: str = ""):
    for name, value in state.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, _Tensor):
            yield f"{prefix}{name}", value


def _array(tensor: _Tensor) -> np.ndarray:
    numbers = (tensor.offset, *tensor.size, *tensor.stride)
    if len(tensor.size) != len(tensor.stride) or any(not isinstance(n, int) or n < 0 for n in numbers):
        raise ValueError("a tensor has no proper shape")
    values = tensor.storage.values
    if math.prod(tensor.size) > len(values):
        raise ValueError("a tensor is larger than its storage")
    last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.size, tensor.stride))
    if math.prod(tensor.size) and last >= len(values):
        raise ValueError("a tensor reaches beyond its storage")
    strides = [s * values.itemsize for s in tensor.stride]
    return np.lib.stride_tricks.as_strided(
        values[tensor.offset :], tensor.size, strides, writeable=False
    ).copy()
