"""Programs compiled for accelerators that are not here: whether they compile, what they need and what bounds them.

`jax.experimental.topologies` describes the devices; the compiler comes with the package `libtpu` and needs none. What the
programs choose by the backend (forms of convolutions, loops) is chosen as on that platform.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from mammojax.errors import UserError
from mammojax.losses import pairwise_auc_loss
from mammojax.models.classifiers.paper import Classifier
from mammojax.models.merged import MammogramNet
from mammojax.models.plans import plan
from mammojax.models.scanning import scan
from mammojax.training.objectives import Auc
from mammojax.training.optimizer import Optimizer
from mammojax.training.step import Batch, compiled_step, start


@dataclass(frozen=True)
class Chip:
    """Of one chip: memory in bytes, bfloat16 operations a second, bytes a second from memory."""

    memory: float
    operations: float
    bandwidth: float


CHIPS = {  # by what a topology begins with; as Google Cloud's pages on each generation state them
    "v5e": Chip(16e9, 197e12, 819e9),
    "v5p": Chip(95e9, 459e12, 2765e9),
    "v4": Chip(32e9, 275e12, 1228e9),
    "v6e": Chip(32e9, 918e12, 1640e9),
}
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s16": 2, "u16": 2}


@dataclass(frozen=True)
class Compiled:
    """What a compiled program says of itself, each number of one chip. failure: why it does not compile, "" if it does.

    memory: bytes of arguments, results and temporaries. collectives: {name: bytes} that it sends. operations, bytes: as the
    compiler counts them, every branch of a condition included. wide: whether float64 is left in it. products: {type: so
    many products of that type}.
    """

    name: str
    seconds: float = 0.0
    failure: str = ""
    memory: float = 0.0
    collectives: dict[str, int] | None = None
    operations: float = 0.0
    bytes: float = 0.0
    wide: bool = False
    products: dict[str, int] | None = None

    def bound(self, chip: Chip) -> tuple[float, str]:
        """(the least seconds that a run can take, what bounds it): operations at the peak, or bytes from memory."""
        compute, memory = self.operations / chip.operations, self.bytes / chip.bandwidth
        return max(compute, memory), "operations" if compute > memory else "memory"


def chip_of(topology: str) -> Chip:
    """UserError for a generation that is not known."""
    kind = topology.partition(":")[0]
    if kind not in CHIPS or not re.fullmatch(r"\w+:\d+(x\d+)+", topology):
        raise UserError(
            f"the topology is {topology!r}; expected a generation and its shape, such as v5e:4x4; known generations are "
            f"{', '.join(CHIPS)}"
        )
    return CHIPS[kind]


def devices_of(topology: str) -> list:
    """The described devices of a topology. UserError where the compiler does not know it."""
    from jax.experimental import topologies

    try:
        return list(topologies.get_topology_desc(topology_name=topology, platform="tpu").devices)
    except Exception as error:
        raise UserError(
            f"the topology {topology} cannot be described ({str(error).splitlines()[0][:200]}); is libtpu installed, and "
            "the shape one that exists?"
        ) from error


def compiled(name: str, lower: Callable) -> Compiled:
    """Compiles lower() -> `jax.stages.Lowered` as on a TPU and reads what came of it."""
    began = time.monotonic()
    try:
        with mock.patch.object(jax, "default_backend", lambda: "tpu"):
            program = lower().compile()
    except Exception as error:
        return Compiled(name, time.monotonic() - began, " ".join(str(error).split())[:300] or repr(error))
    text, cost, memory = program.as_text(), program.cost_analysis() or {}, program.memory_analysis()
    return Compiled(
        name,
        time.monotonic() - began,
        memory=memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes,
        collectives=sent(text),
        operations=float(cost.get("flops", 0.0)),
        bytes=float(cost.get("bytes accessed", 0.0)),
        wide="f64[" in text,
        products=products(text),
    )


def sent(text: str) -> dict[str, int]:
    """{collective: bytes of its results} in a compiled program's text; an asynchronous one counts where it starts."""
    found: Counter = Counter()
    for shapes, name in re.findall(rf"= (\S.*?) ({'|'.join(COLLECTIVES)})(?:-start)?\(", text):
        found[name] += sum(
            _BYTES.get(kind, 1) * int(np.prod([int(side) for side in sides.split(",") if side]))
            for kind, sides in re.findall(r"(\w+)\[([\d,]*)\]", shapes)
        )
    return dict(found)


def products(text: str) -> dict[str, int]:
    """{type of its results: number} of the convolutions and products in a compiled program's text."""
    return dict(Counter(re.findall(r"= (\w+)\[[\d,]*\]\S* (?:convolution|dot)\(", text)))


def programs(
    devices: list,
    network,
    *,
    crop: tuple[int, int],
    cells: int,
    batch: int,
    samples: int,
    precision: str,
) -> Iterator[tuple[str, Callable]]:
    """(what it is, lower) of what the launchers run: the loss over all devices, and the scan and both training steps on one.

    network: a `ScanningNetwork`. crop: pixels of a film's crop. cells: np. batch: images a step. samples: of the training
    set, and of the loss. precision: of the scanning network's products.
    """
    mesh = jax.sharding.Mesh(np.array(devices), ("data",))
    spread = NamedSharding(mesh, PartitionSpec("data"))
    samples = -(-samples // len(devices)) * len(devices)

    def loss():
        def one(scores, labels):
            value, slope = jax.value_and_grad(
                lambda s: pairwise_auc_loss(s, labels, implementation="fast", axis_name="data")
            )(scores)
            return value, slope

        step = jax.shard_map(
            one,
            mesh=mesh,
            in_specs=(PartitionSpec("data"),) * 2,
            out_specs=(PartitionSpec(), PartitionSpec("data")),
        )
        shapes = [
            jax.ShapeDtypeStruct((samples,), kind, sharding=spread) for kind in (jnp.float32, jnp.int32)
        ]
        return jax.jit(step).lower(*shapes)

    alone = jax.sharding.SingleDeviceSharding(devices[0])
    made = plan(crop, network.backbone, cells, tap=network.tap)
    channels = network.channels
    graph, state = nnx.split(network)
    optimizer, objective = Optimizer(learning_rate=3e-4, steps=1000), Auc()
    labels = np.arange(samples) % 4 == 0

    def on(tree):
        """The shapes of a tree on one device."""
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x), sharding=alone), tree
        )

    def scanning():
        def program(state, pixels):
            return scan(nnx.merge(graph, state), pixels, made, dtype=np.dtype(precision))

        pixels = jax.ShapeDtypeStruct((batch, *made.input_shape, 1), jnp.float32, sharding=alone)
        return jax.jit(program).lower(on(state), pixels)

    def step(model, inputs, made=None):
        graph, state = start(model, optimizer, objective, labels=labels)
        ids = np.zeros(batch, np.int32)
        group = Batch(inputs, ids, ids, np.ones(batch, bool))
        shaped = on(group._replace(inputs=None))._replace(inputs=inputs)
        return compiled_step(graph, optimizer, objective).program.lower(on(state), shaped, None, made)

    def stage_one():
        maps = jax.ShapeDtypeStruct((batch, cells, cells, channels), jnp.float32, sharding=alone)
        return step(Classifier(channels, cells, rngs=nnx.Rngs(0)), maps)

    def stage_two():
        pixels = jax.ShapeDtypeStruct((batch, *made.input_shape, 1), jnp.float32, sharding=alone)
        model = MammogramNet(network, Classifier(channels, cells, rngs=nnx.Rngs(0)), dtype=precision)
        return step(model, pixels, made)

    yield f"loss of {samples} scores over {len(devices)} chips", loss
    yield f"scan, {made.describe()}, {batch} a batch, {precision}", scanning
    yield f"step of stage one, {batch} maps", stage_one
    yield f"step of stage two from pixels, {batch} a batch, {precision}", stage_two
