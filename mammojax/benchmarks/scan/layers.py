"""Where the time of a scanning network goes: every layer on its own, on the map that it gets; and the machine's limit."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mammojax.benchmarks.scan.cost import LayerCost, Reading, layer_costs, layers_of
from mammojax.models.backbones import vgg_m
from mammojax.models.backbones.efficientnet_lite import IN_CACHES, LITE0
from mammojax.models.layers import EXACT


def matrix_products(sides: tuple[int, ...] = (2048, 4096)) -> dict[int, tuple[Callable, int]]:
    """side -> (call, operations) of square float32 matrix products: the best rate of them is the machine's."""
    product, found = jax.jit(functools.partial(jnp.matmul, precision=EXACT)), {}
    for side in sides:
        a, b = jnp.asarray(np.random.default_rng(0).normal(size=(2, side, side)).astype(np.float32))
        found[side] = (lambda a=a, b=b: jax.block_until_ready(product(a, b)), 2 * side**3)
    return found


def prepared_layers(
    reading: Reading, variables: dict, pixels: np.ndarray
) -> list[tuple[LayerCost, Callable]]:
    """[(cost, call)] of every layer, compiled alone. pixels: float32[1, h, w, 1] in [0, 1].

    On a CPU the network itself reads some layers in strips of rows. Where those lie within a layer they are timed so;
    those that join layers come last, as a line of their own ("conv1 to pool1").
    """
    variables, x = jax.tree.map(jnp.asarray, (variables, pixels))
    x = x * 255
    costs, prepared = layer_costs(reading, variables), []
    joined = _joined(reading)
    if joined:
        number, function = joined
        cost = LayerCost(
            f"{costs[0].name} to {costs[number - 1].name} in strips",
            costs[0].input_shape,
            costs[number - 1].output_shape,
            sum(cost.operations for cost in costs[:number]),
        )
        last = [(cost, _compiled(function, variables, x)[0])]
    for position, cost in enumerate(costs):
        call, x = _compiled(lambda v, x, i=position: _as_read(reading, v)[i][1](x), variables, x)
        prepared.append((cost, call))
    return prepared + (last if joined else [])


def _compiled(function, variables, x):
    compiled = jax.jit(function).lower(variables, x).compile()
    return (lambda: jax.block_until_ready(compiled(variables, x))), compiled(variables, x)


def _as_read(reading, variables):
    if reading.backbone == "efficientnet_lite0" and jax.default_backend() == "cpu":
        return LITE0.layers(variables, reading.tap, in_caches=IN_CACHES)
    return layers_of(reading, variables)


def _joined(reading) -> tuple[int, Callable] | None:
    """(number of first layers, function(variables, pixels in 0..255)) that the network reads as one step."""
    if reading.backbone != "vgg_m" or jax.default_backend() != "cpu":
        return None
    stride = (reading.first_strides or (2, 2))[0]
    return 3, lambda v, x: vgg_m.in_strips_to_pool1(layers_of(reading, v)[:3], stride, True, x)
