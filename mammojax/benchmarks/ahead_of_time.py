"""Programs compiled for accelerators that are not here: whether they compile, what they need and what bounds them.

`jax.experimental.topologies` describes the devices; the compiler comes with the package `libtpu`, or with the CUDA plugin,
and needs none. What the programs choose by the backend (forms of convolutions, loops) is chosen as on that platform.
"""

import contextlib
import importlib
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

from mammojax.benchmarks.chips import Chip, chip_of
from mammojax.benchmarks.compilers import limited
from mammojax.benchmarks.tables import bytes_text
from mammojax.errors import UserError
from mammojax.losses import pairwise_auc_loss
from mammojax.models.classifiers.paper import Classifier
from mammojax.models.merged import MammogramNet
from mammojax.models.plans import plan
from mammojax.models.scanning import scan
from mammojax.runs.devices import DATA, ROWS
from mammojax.training import spreading
from mammojax.training.objectives import Auc
from mammojax.training.optimizer import Optimizer
from mammojax.training.step import Batch, compiled_step, start

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s16": 2, "u16": 2}


@dataclass(frozen=True)
class Compiled:
    """What a compiled program says of itself, each number of one chip. failure: why it does not compile, "" if it does.

    seconds: of CPU time, of all threads. memory: bytes of arguments, results and temporaries. collectives: {name: bytes} that
    it sends. operations, bytes: as the compiler counts them, every branch of a condition included. wide: whether it asks for
    float64, of which a TPU's compiler makes float32. products: {type: so many products of that type}. kinds: {scatter, gather,
    sort: how many there are before the compiler's work}.
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
    kinds: dict[str, int] | None = None

    def bound(self, chip: Chip) -> tuple[float, str]:
        """(the least seconds that a run can take, what bounds it): operations at the peak, or bytes from memory."""
        compute, memory = self.operations / chip.operations, self.bytes / chip.bandwidth
        return max(compute, memory), "operations" if compute > memory else "memory"

    def account(self, chip: Chip) -> list[str]:
        """Lines for a reader: whether it compiles and fits, what it needs and sends, and the least time that it can take."""
        if self.failure:
            return [f"{self.name}: does not compile", self.failure]
        fits = "fits" if self.memory < chip.memory else "does NOT fit"
        moved = (
            ", ".join(f"{kind} {bytes_text(size)}" for kind, size in self.collectives.items()) or "nothing"
        )
        kinds = ", ".join(f"{count} in {kind}" for kind, count in sorted(self.products.items())) or "none"
        lines = [
            f"{self.name}: compiled in {self.seconds:.0f} CPU seconds",
            f"memory a chip: {bytes_text(self.memory)}, {fits}",
            f"sent: {moved}",
            f"products by the type of their results: {kinds}; float64: {'LEFT' if self.wide else 'none'}",
        ]
        if not self.operations:
            return [*lines, "operations and bytes: this compiler does not count them"]
        least, by = self.bound(chip)
        return [
            *lines,
            f"{self.operations / 1e9:.4g} GFLOP, {bytes_text(self.bytes)} from memory: at least {least * 1e3:.3g} ms, "
            f"bound by {by} (at the bfloat16 peak; a float32 product takes several passes)",
        ]


def devices_of(topology: str) -> list:
    """The described devices of a topology. UserError where the compiler does not know it."""
    from jax.experimental import topologies

    chip = chip_of(topology)
    try:
        if chip.gpu:
            _load_cuda()
            shape = f"1x1x{topology.partition(':')[2]}"  # slices, hosts of one, GPUs of one
            described = topologies.get_topology_desc(platform="cuda", target_config=chip.gpu, topology=shape)
        else:
            described = topologies.get_topology_desc(topology_name=topology, platform="tpu")
        return list(described.devices)
    except Exception as error:
        needs = "are the CUDA plugin's packages" if chip.gpu else "is libtpu"
        raise UserError(
            f"the topology {topology} cannot be described ({str(error).splitlines()[0][:200]}); {needs} installed, and "
            "the shape one that exists?"
        ) from error


def _load_cuda() -> None:
    plugin = importlib.import_module("jax_plugins.xla_cuda12")
    with contextlib.suppress(Exception):  # it misses the driver; the compiler is there all the same
        plugin.initialize()


def compiled(
    name: str, lower: Callable, backend: str = "tpu", *, effort: float = 0.0, minutes: float = 0.0
) -> Compiled:
    """Compiles lower() -> `jax.stages.Lowered` as on that backend ("tpu", "gpu") and reads what came of it. effort: of the
    compiler for speed, -1 to 1, 0 its own; what JAX_EXEC_TIME_OPTIMIZATION_EFFORT is where the program runs. minutes: that it
    may take (`limited`), 0 for any."""
    began = time.process_time()
    try:
        with mock.patch.object(jax, "default_backend", lambda: backend), limited(minutes, name):
            lowered = lower()
            program = lowered.compile({"exec_time_optimization_effort": effort} if effort else None)
    except Exception as error:
        return Compiled(name, time.process_time() - began, " ".join(str(error).split())[:300] or repr(error))
    given = lowered.as_text()
    text, cost, memory = program.as_text(), program.cost_analysis() or {}, program.memory_analysis()
    return Compiled(
        name,
        time.process_time() - began,
        memory=memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes,
        collectives=sent(text),
        operations=float(cost.get("flops", 0.0)),
        bytes=float(cost.get("bytes accessed", 0.0)),
        wide="f64>" in given,
        products=products(text),
        kinds=dict(Counter(re.findall(r"stablehlo\.(scatter|gather|sort)\b", given))),
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
    found = Counter(re.findall(r"= (\w+)\[[\d,]*\]\S* (?:convolution|dot)\(", text))
    # on a GPU they are calls of cuBLAS and cuDNN, whose first result counts
    found += Counter(
        re.findall(r'= \(?(\w+)\[[^=]*? custom-call\([^\n]*custom_call_target="__cu(?:blas|dnn)', text)
    )
    return dict(found)


def programs(
    devices: list,
    network,
    *,
    crop: tuple[int, int],
    cells: int,
    batch: int,
    samples: int,
    precision: str,
    spread: bool = False,
    shard: int = 0,
) -> Iterator[tuple[str, Callable]]:
    """(what it is, lower) of what the launchers run: the loss over all devices, and the scan and both training steps on one.

    network: a `ScanningNetwork`. crop: pixels of a film's crop. cells: np. batch: images a step and device. samples: of the
    training set, and of the loss. precision: of the scanning network's products. spread: the steps over all devices too, with
    kernels of `shard` numbers and more spread (see `compiled_step`).
    """
    mesh = jax.sharding.Mesh(np.array(devices).reshape(-1, 1), (DATA, ROWS))
    apart = NamedSharding(mesh, PartitionSpec(DATA))
    samples = -(-samples // len(devices)) * len(devices)

    def loss():
        def one(scores, labels):
            value, slope = jax.value_and_grad(
                lambda s: pairwise_auc_loss(s, labels, implementation="fast", axis_name=DATA)
            )(scores)
            return value, slope

        step = jax.shard_map(
            one,
            mesh=mesh,
            in_specs=(PartitionSpec(DATA),) * 2,
            out_specs=(PartitionSpec(), PartitionSpec(DATA)),
        )
        shapes = [jax.ShapeDtypeStruct((samples,), kind, sharding=apart) for kind in (jnp.float32, jnp.int32)]
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

    on_mesh, number = (mesh, len(devices)) if spread else (None, 1)
    own = apart if spread else alone

    def step(model, shape, made=None):
        graph, state = start(model, optimizer, objective, labels=labels)
        state = on(state)
        if spread:
            places = spreading.places(state, mesh, shard)
            state = jax.tree.map(
                lambda x, spec: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec)),
                state,
                places,
            )
        samples_of = {"labels": jnp.int32, "ids": jnp.int32, "where": jnp.bool_}
        parts = {
            name: jax.ShapeDtypeStruct((number * batch,), kind, sharding=own)
            for name, kind in samples_of.items()
        }
        inputs = jax.ShapeDtypeStruct((number * batch, *shape), jnp.float32, sharding=own)
        program = compiled_step(graph, optimizer, objective, on_mesh, shard).program
        return program.lower(state, Batch(inputs, **parts), None, made)

    def stage_one():
        return step(Classifier(channels, cells, rngs=nnx.Rngs(0)), (cells, cells, channels))

    def stage_two():
        model = MammogramNet(network, Classifier(channels, cells, rngs=nnx.Rngs(0)), dtype=precision)
        return step(model, (*made.input_shape, 1), made)

    over = f" over {number} chips" if spread else ""
    yield f"loss of {samples} scores over {len(devices)} chips", loss
    yield f"scan, {made.describe()}, {batch} a batch, {precision}", scanning
    yield f"step of stage one{over}, {batch} maps", stage_one
    yield f"step of stage two from pixels{over}, {batch} a batch, {precision}", stage_two
