"""MatConvNet networks (.mat of MATLAB 5 to 7): their layers as plain dicts, checked against a contract.

Two forms are published: `weights` as a cell of kernel and bias with `meta.normalization` (from version 1.0-beta8 on),
and before that the fields `filters` and `biases` with `normalization` at the top. Kernels are HWIO correlations, as ours.
Networks take RGB; `averageImage` is RGB too: one colour or a picture of the input's size.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammojax.errors import UserError
from mammojax.models.backbones.contract import Layer
from mammojax.models.weights.converted import Layers

# VGG's mean colour of ImageNet, RGB; files differ by the images it was taken from, by 2 or 3
MEAN_COLOUR = (123.68, 116.779, 103.939)
_KINDS = {"normalize": "lrn", "normalization": "lrn"}  # names in older versions of MatConvNet
_LRN = (5, 2, 1e-4, 0.75)  # size, kappa, alpha (divided by the size), beta


@dataclass(frozen=True)
class MatConvNet:
    """layers: dicts of the fields of each layer. average: mean colour, RGB, 0..255. averaged: it was a picture."""

    layers: tuple[dict, ...]
    average: tuple[float, float, float]
    averaged: bool


def read_matconvnet_file(path: Path) -> MatConvNet:
    """The network in a file. Raises UserError for one that is damaged, of MATLAB 7.3, or no MatConvNet network."""
    import scipy.io

    path = Path(path)
    with path.open("rb") as file:
        head = file.read(128)
    if head.startswith(b"MATLAB 7.3") or head.startswith(b"\x89HDF"):
        raise UserError(
            f'{path} is of MATLAB 7.3, expected 5 to 7; load it in MATLAB and save it with the option "-v7"'
        )
    try:
        found = scipy.io.loadmat(path, simplify_cells=True)
    except Exception as error:  # whatever a parser says of a foreign file, the file is to blame
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{path} cannot be read as a MATLAB file ({reason}); download it again") from error
    found = found.get("net", found)
    try:
        layers = tuple(
            {**layer, "name": str(layer["name"]), "type": str(layer["type"])} for layer in found["layers"]
        )
        normalisation = found.get("meta", found)["normalization"]
        average = np.asarray(normalisation["averageImage"], np.float64)
        means = average.reshape(-1, 3).mean(0) if average.shape[-1] == 3 else average[:0]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise UserError(
            f"{path} is no network of MatConvNet (its layers or averageImage cannot be found: {error})"
        ) from error
    if means.shape != (3,) or not np.abs(means - MEAN_COLOUR).max() < 10:
        raise UserError(
            f"{path}: the average colour is {means.round(2).tolist()}, expected about {list(MEAN_COLOUR)} (RGB)"
        )
    return MatConvNet(layers, tuple(means.tolist()), average.size > 3)


def convolutions(
    network: MatConvNet, wiring: tuple[str, ...], contract: tuple[Layer, ...], side: int, path: Path
) -> Layers:
    """{layer: {"kernel", "bias"}}: the convolutions of a file whose layers are those of a network, up to its tap.

    wiring: relu, lrn, pool, and every other word the name of a convolution. contract: all of them but relu; for
    an input of `side` pixels. Layers beyond the last of `wiring` are not looked at.
    Raises UserError where a kind, a kernel's side, a stride, a pad or a parameter differs.
    """
    taken: Layers = {}
    found = [layer for layer in network.layers if layer["type"] != "dropout"]  # nothing at test time
    geometry = iter(contract)
    if len(found) < len(wiring):
        raise UserError(f"{path} ends before {wiring[len(found)]}; download it again")
    for expected, layer in zip(wiring, found):
        kind, where = _KINDS.get(layer["type"], layer["type"]), f"{path}: layer {layer['name']}"
        wanted = expected if expected in ("relu", "lrn", "pool") else "conv"
        try:
            _equal(where, "type", kind, wanted)
            if kind == "relu":
                _equal(where, "leak", float(np.sum(layer.get("leak", 0))), 0.0)
            elif kind == "lrn":
                next(geometry)
                _equal(where, "param", tuple(np.ravel(layer["param"]).round(7).tolist()), _LRN)
            else:
                shape = next(geometry)
                _equal(where, "stride", _pair(layer["stride"]), (shape.stride,) * 2)
                if kind == "pool":
                    _check_pool(layer, shape, side, where)
                else:
                    taken[expected] = _convolution(layer, shape, where)
                side = shape.output(side)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise UserError(f"{where} cannot be understood ({type(error).__name__}: {error})") from error
    return taken


def _convolution(layer: dict, shape: Layer, where: str) -> dict[str, np.ndarray]:
    kernel, bias = layer["weights"] if "weights" in layer else (layer["filters"], layer["biases"])
    _equal(where, "kernel", np.shape(kernel)[:2], (shape.kernel,) * 2)
    _equal(where, "pad", _four(layer["pad"]), (shape.padding,) * 4)
    _equal(where, "dilate", _pair(layer.get("dilate", 1)), (1, 1))
    return {"kernel": np.asarray(kernel, np.float32), "bias": np.ravel(bias).astype(np.float32)}


def _check_pool(layer: dict, shape: Layer, side: int, where: str) -> None:
    """Ceil mode is written as pads below and at the right; which ones depends on the side of the input."""
    _equal(where, "method", str(layer["method"]), "max")
    _equal(where, "pool", _pair(layer["pool"]), (shape.kernel,) * 2)
    top, bottom, left, right = _four(layer["pad"])
    _equal(where, "pad above and left", (top, left), (shape.padding,) * 2)
    for pad in (bottom, right):
        cells = int((side + top + pad - shape.kernel) // shape.stride) + 1
        _equal(where, f"output for {side} pixels", cells, shape.output(side))


def _pair(value) -> tuple:
    return _numbers(value, 2)  # rows, columns


def _four(value) -> tuple:
    return _numbers(value, 4)  # top, bottom, left, right


def _numbers(value, count: int) -> tuple:
    """MATLAB writes whole numbers as floats, and one for many."""
    found = np.broadcast_to(np.ravel(value), count).tolist()
    return tuple(int(number) if number == int(number) else number for number in found)


def _equal(where: str, name: str, found, expected) -> None:
    if found != expected:
        raise UserError(f"{where}: {name} is {found}, expected {expected}; this is another network")
