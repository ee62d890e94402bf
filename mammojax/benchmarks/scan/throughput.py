"""Images a second on an accelerator at growing batch sizes, and the share of its peak that they use."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mammojax.benchmarks.scan.cost import Reading, layer_costs
from mammojax.benchmarks.scan.programs import compile_program
from mammojax.benchmarks.timing import timed
from mammojax.models.plans import Plan
from mammojax.models.scanning import ScanningNetwork

# bfloat16 products a second, dense, of one device; by the start of JAX's name for it, longest first. As commonly stated by
# the makers (NVIDIA: half of the figure "with sparsity"); not checked against their data sheets.
PEAKS = {
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA A100": 312e12,
    "NVIDIA L4": 121e12,
    "TPU v6 lite": 918e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v4": 275e12,
}


class Throughput(NamedTuple):
    """share: of the device's peak, None where that is not known; see `throughputs` for what is counted."""

    batch: int
    images_per_second: float
    share: float | None


def peak_rate(device_kind: str) -> float | None:
    """bfloat16 operations a second of a device, None for one that is not in the table."""
    found = [rate for name, rate in PEAKS.items() if f"{device_kind} ".startswith((f"{name} ", f"{name}-"))]
    return found[0] if found else None


def throughputs(
    program: str, network: ScanningNetwork, chosen: Plan, *, repeats: int = 3, largest: int = 4096
) -> Iterator[Throughput]:
    """Of batches of 1, 2, 4, ... images in bfloat16 until the device's memory is full, or of `largest`.

    Operations: of the scanning network's kernels, once for a scan and three times for a training step (forward, and a
    product each for the gradients of map and kernel); what is computed again to save memory is not counted.
    """
    reading = Reading(network.backbone.name, network.tap, chosen.input_shape, chosen.first_strides)
    costs = layer_costs(reading, network.variables())
    operations = sum(cost.operations for cost in costs) * (1 if program == "scan" else 3)
    peak, batch = peak_rate(jax.devices()[0].device_kind), 1
    while batch <= largest:
        try:
            compiled = compile_program(program, network, chosen, batch=batch, dtype=jnp.bfloat16)
            compiled.call()
            seconds = min(timed(compiled.call) for _ in range(repeats)) / batch
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" in str(error):
                return
            raise
        yield Throughput(batch, 1 / seconds, None if peak is None else operations / seconds / peak)
        batch *= 2
