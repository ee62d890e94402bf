"""Torch state dicts without torch and without running code: a reader that can build arrays and nothing else.

Both formats: the old one (pickles of magic number, protocol, system facts, state dict, keys; then the storages) and the
zip archive. Strides are honoured after a bounds check: published files hold channels-last kernels. No file makes this take
more memory than a few times its own size: storages have to lie in it, uncompressed, and all tensors together are at most
four times as large.
"""

import io
import math
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mammojax.errors import UserError
from mammojax.models.weights.torch_pickle import Storage, Tensor, read_pickle, tensors

_MAGIC = 0x1950A86A20F9469CFC6C


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """{name: array} of a state dict; nested dicts are joined by dots.

    Raises UserError for a file that is absent, truncated, is something else, or asks for anything but arrays; nothing in
    it is run.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give a torch file") from error
    try:
        found, values = (_read_zip if data[:2] == b"PK" else _read_old)(data)
        if not found:
            raise ValueError("it holds no tensors")
        size = sum(_check_bounds(tensor) for tensor in found.values())
        if size > 4 * sum(stored.nbytes for stored in values.values()):
            raise ValueError("its tensors are far larger than what is stored")
        return {name: _array(tensor, values[tensor.storage.key]) for name, tensor in found.items()}
    except (
        ValueError,  # torch_pickle.Refused, UnicodeDecodeError
        KeyError,
        TypeError,
        IndexError,
        struct.error,
        zipfile.BadZipFile,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OverflowError,
        MemoryError,
    ) as error:
        reason = "".join(c if c.isprintable() else "?" for c in str(error)[:200]) or type(error).__name__
        raise UserError(
            f"{path} cannot be read as torch weights ({reason}); nothing in it was run; download it again"
        ) from None


def _read_old(data: bytes) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    file, values = io.BytesIO(data), {}
    magic, _, system = (read_pickle(file) for _ in range(3))
    if magic != _MAGIC or type(system) is not dict:
        raise ValueError("the magic number is not torch's")
    if not system.get("little_endian", True):
        raise ValueError("it was written by a big-endian machine")
    state, keys = (read_pickle(file) for _ in range(2))
    found = tensors(state)
    storages = _storages(found.values(), len(data))
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        if type(key) is not str or key not in storages:
            raise ValueError("it stores numbers that no tensor holds")
        values[key] = _values(
            file.read(max(count, 0) * np.dtype(storages[key].dtype).itemsize), storages[key]
        )
    return found, values


def _read_zip(data: bytes) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (pickled,) = [name for name in archive.namelist() if name.split("/")[-1] == "data.pkl"]
        folder = pickled.removesuffix("data.pkl")

        def entry(name: str) -> bytes:
            found = archive.getinfo(folder + name)
            if found.compress_type != zipfile.ZIP_STORED:  # torch stores; what is compressed could be a bomb
                raise ValueError(f"{name} is compressed")
            return archive.read(found)

        if f"{folder}byteorder" in archive.namelist() and entry("byteorder").strip() != b"little":
            raise ValueError("it was written by a big-endian machine")
        found = tensors(read_pickle(io.BytesIO(entry("data.pkl"))))
        storages = _storages(found.values(), len(data))
        return found, {key: _values(entry(f"data/{key}"), storage) for key, storage in storages.items()}


def _storages(found: Iterable[Tensor], room: int) -> dict[str, Storage]:
    """{key: storage}; ValueError where two of one key differ, or where they do not fit in a file of `room` bytes."""
    storages: dict[str, Storage] = {}
    for tensor in found:
        if storages.setdefault(tensor.storage.key, tensor.storage) != tensor.storage:
            raise ValueError("a storage is declared twice")
    if sum(s.count * np.dtype(s.dtype).itemsize for s in storages.values()) > room:
        raise ValueError("it is truncated: its storages are larger than the file")
    return storages


def _values(data: bytes, storage: Storage) -> np.ndarray:
    if len(data) != storage.count * np.dtype(storage.dtype).itemsize:
        raise ValueError("it is truncated, or a storage has another length than declared")
    return np.frombuffer(data, storage.dtype)


def _check_bounds(tensor: Tensor) -> int:
    """Size of a tensor in bytes; ValueError unless it lies within its storage."""
    storage, offset, size, stride = tensor
    if len(size) != len(stride) or len(size) > 8:
        raise ValueError("a tensor has no proper shape")
    if any(type(n) is not int or not 0 <= n < 2**48 for n in (offset, *size, *stride)):
        raise ValueError("a tensor has no proper shape")
    count = math.prod(size)
    if count > storage.count:
        raise ValueError("a tensor is larger than its storage")
    if count and offset + sum((n - 1) * s for n, s in zip(size, stride)) >= storage.count:
        raise ValueError("a tensor reaches beyond its storage")
    return count * np.dtype(storage.dtype).itemsize


def _array(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    if math.prod(tensor.size) == 0:
        return np.empty(tensor.size, values.dtype)
    strides = [s * values.itemsize for s in tensor.stride]
    view = np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.size, strides, writeable=False)
    return view.copy()
