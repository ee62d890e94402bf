"""The two programs that users wait for, compiled: the scan of a batch, and a training step of the merged network."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mammojax.errors import UserError
from mammojax.models.backbones import vgg_m
from mammojax.models.backbones.efficientnet_lite import LITE0
from mammojax.models.classifiers.paper import Classifier
from mammojax.models.merged import MammogramNet
from mammojax.models.plans import Plan
from mammojax.models.scanning import ScanningNetwork, load_backbone, scan
from mammojax.models.weights.random import random_layers
from mammojax.training.objectives import Logistic
from mammojax.training.optimizer import Optimizer
from mammojax.training.step import Batch, compiled_step, start

PROGRAMS = ("scan", "training step")


class Program(NamedTuple):
    """call: runs it and waits. stated: bytes of arguments, results and temporaries together, as the compiler states
    them; None where it does not."""

    call: Callable[[], object]
    stated: int | None


def network_to_measure(backbone: str, tap: str | None = None) -> ScanningNetwork:
    """VGG-M with random weights of the published shapes; EfficientNet-Lite0 with its own, random where they are absent."""
    if backbone == "vgg_m":
        return ScanningNetwork(
            backbone, tap, vgg_m.grey(random_layers(vgg_m.SHAPES, 0)), "random weights", "random"
        )
    try:
        return load_backbone(backbone, tap=tap)
    except UserError:
        rng, variables = np.random.default_rng(0), {}
        for name, shape in LITE0.grey_shapes().items():
            kernel = rng.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape).astype(np.float32)
            variables[name] = {"kernel": kernel, "bias": np.zeros(shape[-1], np.float32)}
        return ScanningNetwork(backbone, tap, variables, "random weights", "random")


def compile_program(
    name: str, network: ScanningNetwork, chosen: Plan, *, batch: int = 1, dtype=jnp.float32
) -> Program:
    """The program `name` of `PROGRAMS` for `batch` prepared crops of noise; Adam and the logistic loss in a step.

    dtype: of the scanning network's products.
    """
    pixels = np.random.default_rng(0).random((batch, *chosen.input_shape, 1), np.float32)
    return {"scan": _scan, "training step": _step}[name](network, chosen, jnp.asarray(pixels), dtype)


def _scan(network, chosen, pixels, dtype) -> Program:
    graph, state = nnx.split(network)
    function = jax.jit(lambda state, x: scan(nnx.merge(graph, state), x, chosen, dtype=dtype))
    compiled = function.lower(state, pixels).compile()
    return Program(lambda: jax.block_until_ready(compiled(state, pixels)), _stated(compiled))


def _step(network, chosen, pixels, dtype) -> Program:
    classifier = Classifier(network.channels, chosen.cells, rngs=nnx.Rngs(0))
    optimizer, objective = Optimizer(learning_rate=1e-4, steps=1000, warmup=0.0), Logistic()
    ids = jnp.arange(len(pixels), dtype=jnp.int32)
    model = MammogramNet(network, classifier, dtype=dtype)
    graph, state = start(model, optimizer, objective, labels=ids % 2)
    step = compiled_step(graph, optimizer, objective)
    batch = Batch(pixels, ids % 2, ids, jnp.ones(len(pixels), bool))

    def advance(state, batch):
        return step(state, [batch._replace(plan=chosen)])

    compiled = jax.jit(advance, donate_argnums=0).lower(state, batch).compile()
    held = [state]

    def call():
        held[0], report = jax.block_until_ready(compiled(held[0], batch))
        return report.loss

    return Program(call, _stated(compiled))


def _stated(compiled) -> int | None:
    memory = compiled.memory_analysis()
    if memory is None:
        return None
    parts = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return int(parts - memory.alias_size_in_bytes)  # a donated state is argument and result in one place
