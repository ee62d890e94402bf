"""Keras weight files (HDF5) of networks built in blocks: VGG-16 without its head, and files of the same layout.

A dataset is known by its path: `block1_conv1/block1_conv1_W_1:0` (Keras 1, the published file), `.../kernel:0` (Keras 2),
`.../vars/0` (Keras 3), or a model in nested blocks `block1/layers/conv2d_1/vars/0` (Keras 3). Kernels are HWIO as ours.
Links and storage outside the file are not followed, and only plain, uncompressed numbers are read.
"""

import re
from pathlib import Path

import numpy as np

from mammojax.errors import UserError
from mammojax.models.weights.converted import Layers

_FLAT = re.compile(
    r"(?:^|/)block(\d)_conv(\d)/(?:.*/)?(?:block\d_conv\d_)?(W|b|kernel|bias|vars/0|vars/1)(?:_\d+)?(?::0)?$"
)
_NESTED = re.compile(r"(?:^|/)block(\d)/layers/conv2d(?:_(\d))?/vars/([01])$")
_KERNEL = ("W", "kernel", "vars/0", "0")


def read_keras_file(path: Path, shapes: dict[str, tuple[int, ...]]) -> Layers:
    """{"conv1_1": {"kernel", "bias"}, ...} of the layers named in `shapes` (kernel shapes, HWIO), in float32.

    Raises UserError for a file that is damaged or does not hold them, or where h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise UserError("reading Keras files needs h5py; install it with pip install h5py") from error

    layers: Layers = {}

    def take(name: str, item) -> None:
        known = _layer_and_part(name)
        if known is None or not isinstance(item, h5py.Dataset):
            return
        layer, part = known
        if layer not in shapes:
            return
        expected = shapes[layer] if part == "kernel" else shapes[layer][-1:]
        if item.shape != expected or item.dtype.kind != "f":
            raise ValueError(f"{name} is {item.dtype}{list(item.shape)}, expected {list(expected)}")
        # a virtual dataset or one with outside storage shows other files; a filter can make much of little
        if item.is_virtual or item.external or item.chunks is not None:
            raise ValueError(f"{name} is not stored as plain numbers")
        if part in layers.setdefault(layer, {}):
            raise ValueError(f"{layer}.{part} is there twice")
        layers[layer][part] = np.asarray(item[()], np.float32)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(take)  # hard links only
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} cannot be read as Keras weights ({reason}); download it again") from error
    return layers


def _layer_and_part(name: str) -> tuple[str, str] | None:
    if found := _FLAT.search(name):
        block, convolution, part = found.groups()
    elif found := _NESTED.search(name):
        block, before, part = found.groups()
        convolution = int(before or 0) + 1
    else:
        return None
    return f"conv{block}_{convolution}", "kernel" if part in _KERNEL else "bias"
