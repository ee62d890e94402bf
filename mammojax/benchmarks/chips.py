"""The chips that programs are compiled for, as their makers state them; known before JAX is loaded."""

import re
from dataclasses import dataclass

from mammojax.errors import UserError


@dataclass(frozen=True)
class Chip:
    """Of one chip: memory in bytes, bfloat16 operations a second, bytes a second from memory. gpu: what XLA must know of a
    GPU (a GpuTargetConfig in text), "" for a TPU."""

    memory: float
    operations: float
    bandwidth: float
    gpu: str = ""


# NVIDIA's data sheet of the H100 SXM5 and the CUDA programming guide's table of compute capability 9.0
_H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448 shared_memory_per_core: 233472
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84942979072
  cuda_compute_capability { major: 9 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 patch: 0 }
runtime_version { major: 12 minor: 8 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
CHIPS = {  # by what a topology begins with; as Google Cloud's pages on each generation state them
    "v5e": Chip(16e9, 197e12, 819e9),
    "v5p": Chip(95e9, 459e12, 2765e9),
    "v4": Chip(32e9, 275e12, 1228e9),
    "v6e": Chip(32e9, 918e12, 1640e9),
    "h100": Chip(80e9, 989e12, 3352e9, _H100),
}


def chip_of(topology: str) -> Chip:
    """UserError for a generation that is not known."""
    kind, _, shape = topology.partition(":")
    form = r"\d+" if kind in CHIPS and CHIPS[kind].gpu else r"\d+(x\d+)+"
    if kind not in CHIPS or not re.fullmatch(form, shape):
        raise UserError(
            f"the topology is {topology!r}; expected a generation and its shape, such as v5e:4x4 or h100:4; known "
            f"generations are {', '.join(CHIPS)}"
        )
    return CHIPS[kind]
