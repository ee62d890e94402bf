"""What every layer gives as a crop is read by its plan: sizes by tracing the layers' own functions, no pixel computed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from mammojax.models.backbones.contract import PIXELWISE, Layer, receptive_field, restrided
from mammojax.models.classifiers.paper import Classifier
from mammojax.models.layers import window_maxima
from mammojax.models.plans import Plan, backbone_module

WINDOW_MAXIMA = "window maxima"


@dataclass(frozen=True)
class LayerSize:
    """One layer of a network that reads one crop; pairs are (rows, columns).

    padding: in words. output: cells that it gives. sees: pixels of the crop that one of them depends on, cut to the
    crop's size. parameters: numbers that are trained.
    """

    name: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: str
    output: tuple[int, int]
    channels: int
    sees: tuple[int, int]
    parameters: int = 0


def scanning_sizes(chosen: Plan, variables: dict | None = None) -> list[LayerSize]:
    """The layers from the prepared pixels to the np x np x c representation.

    variables: of the network, None for its published shapes.
    Raises ValueError where a function gives another size than the backbone's contract says.
    """
    module = backbone_module(chosen.backbone)
    if variables is None:
        variables = {name: _abstract(shape) for name, shape in module.grey_shapes().items()}
    own = {"first_strides": chosen.first_strides, "padding": chosen.padding} if chosen.first_strides else {}
    names = [name for name, _ in module.layers(variables, chosen.tap, **own)]

    def maps(variables, x):
        found = []
        for _, step in module.layers(variables, chosen.tap, **own):
            found.append(x := step(x))
        if chosen.window:
            found.append(window_maxima(x, size=chosen.window, step=chosen.step))
        return found

    pixels = jax.ShapeDtypeStruct((1, *chosen.input_shape, 1), jnp.float32)
    shapes = [found.shape for found in jax.eval_shape(maps, variables, pixels)]
    parameters = [_numbers(part for n, part in variables.items() if _belongs(n, name)) for name in names]
    if chosen.window:
        names, parameters = [*names, WINDOW_MAXIMA], [*parameters, 0]
    before = chosen.input_shape
    return _sizes(chosen, names, shapes, parameters, _scanning_geometry(chosen), skip=0, before=before)


def classifier_sizes(chosen: Plan, channels: int, **options) -> list[LayerSize]:
    """The layers from the np x np x c representation to the score. channels: c. options: of `Classifier`."""

    def make():
        return Classifier(channels, chosen.cells, **options, rngs=nnx.Rngs(0))

    model = nnx.eval_shape(make)
    graph, state = nnx.split(model)

    def maps(state, x):
        found = []
        for _, step in nnx.merge(graph, state).layers(chosen.cells):
            found.append(x := step(x))
        return found

    representation = jax.ShapeDtypeStruct((1, chosen.cells, chosen.cells, channels), jnp.float32)
    shapes = [found.shape for found in jax.eval_shape(maps, state, representation)]
    names = [name for name, _ in model.layers(chosen.cells)]
    modules = {f"conv{i}": layer for i, layer in enumerate(model.convolutions, 1)}
    modules |= {f"dense{i}": layer for i, layer in enumerate(model.dense, 1)} | {"score": model.score}
    parameters = [_numbers([nnx.state(modules[n], nnx.Param)] if n in modules else []) for n in names]
    layers = [
        Layer(model.convolutions[0].kernel_size[0], 1, "same")
        if name.startswith("conv")
        else Layer(2, 2)
        if name.startswith("pool")
        else PIXELWISE
        for name in names
    ]
    before, scanned = (chosen.cells,) * 2, _scanning_geometry(chosen)
    geometry = tuple((*axis, *layers) for axis in scanned)
    return _sizes(chosen, names, shapes, parameters, geometry, skip=len(scanned[0]), before=before)


def table(sizes: Sequence[LayerSize]) -> list[str]:
    """The layers as lines of equal columns, a heading first."""
    rows = [("layer", "kernel", "stride", "padding", "output", "channels", "one cell sees", "parameters")]
    for size in sizes:
        pairs = [f"{a} x {b}" for a, b in (size.kernel, size.stride, size.output, size.sees)]
        kernel, stride, output, sees = pairs
        rows.append(
            (
                size.name,
                kernel,
                stride,
                size.padding,
                output,
                str(size.channels),
                sees,
                f"{size.parameters:,}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    left = (0, 3)  # words to the left, numbers to the right
    return [
        "  ".join(v.ljust(w) if i in left else v.rjust(w) for i, (v, w) in enumerate(zip(row, widths)))
        for row in rows
    ]


def _abstract(kernel: tuple[int, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    return {
        "kernel": jax.ShapeDtypeStruct(kernel, jnp.float32),
        "bias": jax.ShapeDtypeStruct(kernel[-1:], jnp.float32),
    }


def _belongs(variable: str, step: str) -> bool:
    return variable == step or variable.startswith(f"{step}_")  # block3_expand is a part of block3


def _numbers(trees) -> int:
    return sum(leaf.size for tree in trees for leaf in jax.tree.leaves(tree))


def _scanning_geometry(chosen: Plan) -> tuple[tuple[Layer, ...], ...]:
    """The layers along rows and along columns."""
    layers = backbone_module(chosen.backbone).BACKBONE.tap(chosen.tap).padded(chosen.padding)
    axes = []
    for axis in range(2):
        along = restrided(layers, chosen.first_strides[axis] if chosen.first_strides else None)
        pool = (Layer(chosen.window[axis], chosen.step[axis]),) if chosen.window else ()
        axes.append((*along, *pool))
    return tuple(axes)


def _sizes(chosen, names, shapes, parameters, geometry, *, skip, before) -> list[LayerSize]:
    """geometry: all layers from the pixels on, of which the first `skip` have been told."""
    found = []
    for i, (name, shape, count) in enumerate(zip(names, shapes, parameters, strict=True), skip + 1):
        pair = tuple(axis[i - 1] for axis in geometry)
        expected = tuple(layer.output(side) for layer, side in zip(pair, before))
        before = shape[1:3]
        if before != expected:
            raise ValueError(f"{chosen.backbone} {name} gives {before} cells, by its contract {expected}")
        fields = [receptive_field(axis[:i])[2] for axis in geometry]
        sees = tuple(
            min(side, math.ceil(round(field * scale, 6)))
            for side, field, scale in zip(chosen.crop_shape, fields, chosen.reduction)
        )
        found.append(
            LayerSize(
                name=name,
                kernel=tuple(layer.kernel for layer in pair),
                stride=tuple(layer.stride for layer in pair),
                padding=_padding(pair[0]),
                output=before,
                channels=shape[3],
                sees=sees,
                parameters=count,
            )
        )
    return found


def _padding(layer: Layer) -> str:
    if layer.padding == "same":
        return "same"
    return "ceil" if layer.ceil else str(layer.padding) if layer.padding else "none"
