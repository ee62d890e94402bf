"""The programs of the loss library, to be compiled ahead of time for devices that are not here (`ahead_of_time.py`)."""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

from mammojax.benchmarks.ahead_of_time import compiled
from mammojax.benchmarks.tables import bytes_text, markdown_table
from mammojax.losses import (
    ScoreBuffers,
    auc,
    buffered_auc_loss,
    buffers,
    pairwise_auc_loss,
)
from mammojax.losses.buffers import POLICIES
from mammojax.losses.surrogates import SURROGATES

IMPLEMENTATIONS = ("fast", "tiled")


def loss_table(
    devices: list, samples: int, backend: str, matching: str, **options
) -> Iterator[tuple[str, bool]]:
    """(line, whether it is a program that does not compile): of a table in Markdown, made as the lines are asked for.

    matching: programs whose name holds this. Other arguments: as of `loss_programs` and `compiled`."""
    head = ["program", "CPU s", "memory", "scatters", "gathers", "sorts", "float64", "sent"]
    for line in markdown_table(head, []).splitlines():
        yield line, False
    for name, lower in loss_programs(devices, samples):
        if matching not in name:
            continue
        found = compiled(name, lower, backend, **options)
        row = [name, f"{found.seconds:.1f}", found.failure or bytes_text(found.memory)]
        if not found.failure:
            row += [found.kinds.get(kind, 0) for kind in ("scatter", "gather", "sort")]
            sent = ", ".join(f"{kind} {bytes_text(size)}" for kind, size in found.collectives.items())
            row += ["asked for" if found.wide else "none", sent or "nothing"]
        yield markdown_table(row, []).splitlines()[0], bool(found.failure)


def loss_programs(devices: list, samples: int) -> Iterator[tuple[str, Callable]]:
    """(what it is, lower) of the value and gradient of every surrogate by every implementation, of partial losses, losses
    of groups, the AUC, and losses and updates with buffers; on one device, and where they know several on all.

    samples: scores of each; rounded up to a multiple of the devices.
    """
    samples = -(-samples // len(devices)) * len(devices)
    mesh = jax.sharding.Mesh(np.array(devices), ("data",))
    alone = SingleDeviceSharding(devices[0])
    many = f"{len(devices)} devices"

    def vector(kind, sharding=alone, size=samples):
        return jax.ShapeDtypeStruct((size,), kind, sharding=sharding)

    def on_one(function, *more):
        return lambda: jax.jit(function).lower(vector(jnp.float32), vector(jnp.int32), *more)

    def on_all(function, slopes=True):
        spread, same = PartitionSpec("data"), PartitionSpec()
        mapped = jax.shard_map(
            function, mesh=mesh, in_specs=(spread, spread), out_specs=(same, spread) if slopes else same
        )
        sharding = NamedSharding(mesh, spread)
        return lambda: jax.jit(mapped).lower(vector(jnp.float32, sharding), vector(jnp.int32, sharding))

    def loss(**options):
        return jax.value_and_grad(functools.partial(pairwise_auc_loss, **options))

    for implementation in IMPLEMENTATIONS:
        for surrogate in SURROGATES:
            form = {"surrogate": surrogate, "implementation": implementation}
            yield f"{surrogate}, {implementation}", on_one(loss(**form))
            yield f"{surrogate}, {implementation}, {many}", on_all(loss(**form, axis_name="data"))
    partial = {"max_fpr": 0.1, "min_tpr": 0.2, "surrogate": "square", "implementation": "fast"}
    yield "square, fast, partial", on_one(loss(**partial))
    yield f"square, fast, partial, {many}", on_all(loss(**partial, axis_name="data"))
    yield (
        "logistic within groups",
        on_one(
            jax.value_and_grad(lambda s, y, g: pairwise_auc_loss(s, y, groups=g)),
            vector(jnp.int32),
        ),
    )
    for name, options in (("auc", {}), ("auc, max_fpr", {"max_fpr": 0.1})):
        yield name, on_one(functools.partial(auc, **options))
        yield f"{name}, {many}", on_all(functools.partial(auc, axis_name="data", **options), slopes=False)

    batch = min(samples, 64)
    for policy in POLICIES:
        stored = jax.eval_shape(
            lambda policy=policy: ScoreBuffers.init(policy, samples if policy == "all" else 256)
        )
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=alone), stored)
        group = [vector(kind, size=batch) for kind in (jnp.float32, jnp.int32, jnp.int32)]
        key = jax.eval_shape(lambda: jax.random.key(0))
        key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=alone)

        def beside(stored=shapes, group=group):
            f = jax.value_and_grad(
                functools.partial(buffered_auc_loss, implementation="tiled", surrogate="square")
            )
            return jax.jit(f).lower(*group, stored)

        def update(stored=shapes, group=group, key=key):
            f = functools.partial(buffers.update, correct_drift=True)
            return jax.jit(lambda *a: f(*a[:-1], key=a[-1])).lower(stored, *group, key)

        yield f"square, tiled, beside buffers: {policy}", beside
        yield f"update of buffers: {policy}", update
