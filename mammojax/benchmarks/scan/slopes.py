"""A layer of the scanning network and its slopes, each a program of its own: which of them a compiler takes long over."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from mammojax.benchmarks.ahead_of_time import compiled
from mammojax.benchmarks.tables import bytes_text, markdown_table
from mammojax.models.layers import in_turn, window_maxima
from mammojax.models.plans import Plan, backbone_module
from mammojax.models.scanning import ScanningNetwork


def slope_table(
    programs: Iterator[tuple[str, Callable]], backend: str, *, matching: str = "", **options
) -> Iterator[tuple[str, bool]]:
    """(line, whether it is a program that does not compile): of a table in Markdown, made as the lines are asked for.

    matching: programs whose name holds this. backend, options: as of `compiled`."""
    yield from ((line, False) for line in markdown_table(["slopes of", "CPU s", "memory"], []).splitlines())
    for name, lower in programs:
        if matching in name:
            found = compiled(name, lower, backend, **options)
            row = [name, f"{found.seconds:.1f}", found.failure or bytes_text(found.memory)]
            yield markdown_table(row, []).splitlines()[0], bool(found.failure)


def slope_programs(
    network: ScanningNetwork, chosen: Plan, device, *, batch: int, precision: str
) -> Iterator[tuple[str, Callable]]:
    """(layer, lower) of the slopes of every layer's kernels, and of the map that it reads but for the pixels, as a step of
    stage two has them; and of the window maxima. chosen: of the crop. precision: of the products."""
    module, variables = backbone_module(network.backbone.name), network.variables()
    own = {"first_strides": chosen.first_strides, "padding": chosen.padding} if chosen.first_strides else {}

    def steps(variables):
        return module.layers(variables, network.tap, dtype=np.dtype(precision), **own)

    def lower(function, kernels, shape, arguments):
        def loss(kernels, x):
            return jnp.square(in_turn([("", lambda x: function(kernels, x))], x)).sum()

        placed = [
            jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float32, sharding=SingleDeviceSharding(device)), t
            )
            for t in (kernels, shape)
        ]
        return jax.jit(jax.grad(loss, arguments)).lower(*placed)

    x = jax.ShapeDtypeStruct((batch, *chosen.input_shape, 1), jnp.float32)
    for i, (name, step) in enumerate(steps(variables)):
        kernels = {key: value for key, value in variables.items() if key.split("_")[0] == name}

        def one(kernels, x, i=i):
            return steps({**variables, **kernels})[i][1](x)

        arguments = (0, 1) if i and kernels else int(i > 0)
        yield (
            f"{name}, {' x '.join(map(str, x.shape[1:]))}",
            lambda one=one, kernels=kernels, x=x, arguments=arguments: lower(one, kernels, x, arguments),
        )
        x = jax.eval_shape(step, x)
    if chosen.window:

        def maxima(_, x):
            return window_maxima(x, size=chosen.window, step=chosen.step)

        shape = " x ".join(map(str, x.shape[1:]))
        yield f"window maxima, {shape}", lambda: lower(maxima, {}, x, 1)
