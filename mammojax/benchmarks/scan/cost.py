"""What a reading of pixels costs, layer by layer: operations counted from the shapes alone.

A multiply-add is two operations. Only kernels are counted: rectifiers, maxima and normalisation have no products worth
the name, and what padding multiplies by zero is counted as the textbook does.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mammojax.models.plans import backbone_module


class Reading(NamedTuple):
    """One image of `shape` (rows, columns) through a backbone up to its tap. first_strides: None for native."""

    backbone: str
    tap: str
    shape: tuple[int, int]
    first_strides: tuple[int, int] | None = None

    def describe(self) -> str:
        text = f"{self.backbone} {self.tap}, {self.shape[0]} x {self.shape[1]}"
        return text + (f", stride {self.first_strides[0]}" if self.first_strides else "")


class LayerCost(NamedTuple):
    """input_shape, output_shape: [1, rows, columns, channels]. operations: of all kernels of the layer."""

    name: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    operations: int


def layers_of(reading: Reading, variables: dict, *, dtype=jnp.float32) -> list[tuple[str, Callable]]:
    """[(name, function)] from pixels in 0..255 up to the tap."""
    module = backbone_module(reading.backbone)
    given = (reading.first_strides,) if module.BACKBONE.reading == "stride" else ()
    return module.layers(variables, reading.tap, *given, dtype=dtype)


def layer_costs(reading: Reading, variables: dict) -> list[LayerCost]:
    """The costs of all layers, in order. variables: arrays or their shapes; nothing is computed."""
    x = jax.ShapeDtypeStruct((1, *reading.shape, 1), jnp.float32)
    costs = []
    for position, (name, _) in enumerate(layers_of(reading, variables)):
        y = jax.eval_shape(lambda v, x, i=position: layers_of(reading, v)[i][1](x), variables, x)
        costs.append(LayerCost(name, x.shape, y.shape, _operations(name, variables, x.shape, y.shape)))
        x = y
    return costs


def _operations(name, variables, before, after) -> int:
    """Each number of a kernel is used once at every place of the map that its convolution gives."""
    total = 0
    for part, layer in variables.items():
        if part == name or part.startswith(f"{name}_"):
            # a block widens its input where it is, and strides in what follows
            rows, columns = (before if part.endswith("_expand") else after)[1:3]
            total += 2 * rows * columns * layer["kernel"].size
    return total
