"""The devices of a program as a mesh: images of a batch lie over the axis `data`, rows of one image over `rows`.

A program may be several processes with devices of their own. What needs no other process (a scan, a fit that is not
spread) has the mesh of its own devices; a training that is spread has that of all of them, process after process.
"""

import functools
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mammojax.errors import UserError

if TYPE_CHECKING:
    from jax.sharding import Mesh

DATA, ROWS = "data", "rows"


def own_mesh(data: int, rows: int) -> "Mesh | None":
    """The mesh of this process's devices, None for one device. data: of the axis over all processes, 0 for all devices.

    Raises UserError if there are not as many.
    """
    return _mesh(*_own_devices(data, rows))


def program_mesh(data: int, rows: int) -> "Mesh | None":
    """The mesh of the devices of all processes, None for one device; otherwise as `own_mesh`."""
    import jax

    if jax.process_count() == 1:
        return own_mesh(data, rows)
    _, size, rows = _own_devices(data, rows)
    everyone = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    taken = [
        device
        for process in range(jax.process_count())
        for device in [d for d in everyone if d.process_index == process][: size * rows]
    ]
    return _mesh(taken, len(taken) // rows, rows)


def _own_devices(data: int, rows: int):
    """(devices of this process, how many of them share a batch, how many an image): as many in every process."""
    import jax

    devices, processes = jax.local_devices(), jax.process_count()
    least = min(Counter(device.process_index for device in jax.devices()).values())
    kind = f"({devices[0].platform})"
    if data % processes:
        raise UserError(
            f"mesh.data is {data}, and {processes} processes have an equal share each; give a multiple of it, or 0"
        )
    size = data // processes or max(least // rows, 1)
    if size * rows > least:
        there = f"{least} device(s) are there {kind}"
        if processes > 1:
            there = f"each of {processes} processes has {least} device(s) {kind}, and the rows of an image lie in one"
        raise UserError(
            f"mesh.data x mesh.rows is {size * processes} x {rows}, and {there}; give smaller ones"
        )
    return devices, size, rows


def _mesh(devices, data, rows):
    from jax.sharding import AxisType, Mesh

    if data * rows == 1:
        return None
    grid = np.asarray(devices[: data * rows]).reshape(data, rows)
    return Mesh(grid, (DATA, ROWS), axis_types=(AxisType.Auto,) * 2)


def described(mesh: "Mesh | None") -> str:
    """Devices and mesh, in words."""
    import jax

    device = jax.local_devices()[0]
    kind = f"{device.platform}: {device.device_kind}"
    if mesh is None:
        return f"one device of {jax.device_count()} ({kind})"
    return f"{mesh.size} devices ({kind}), mesh data {mesh.shape[DATA]} x rows {mesh.shape[ROWS]}"


def spans_processes(mesh: "Mesh | None") -> bool:
    """Whether other processes have a part of the mesh, and so must compute the same at the same time."""
    return mesh is not None and mesh.is_multi_process


def padded_to(size: int, mesh: "Mesh | None") -> int:
    """The smallest number from `size` on that the axis `data` divides."""
    parts = 1 if mesh is None else mesh.shape[DATA]
    return -(-size // parts) * parts


def own_rows(size: int, mesh: "Mesh | None") -> range:
    """Which samples of a batch of `size` lie on this process's devices; no other needs to be read."""
    if not spans_processes(mesh):
        return range(size)
    import jax

    share = padded_to(size, mesh) // jax.process_count()
    begin = jax.process_index() * share
    return range(min(begin, size), min(begin + share, size))


def over_data(tree: Any, mesh: "Mesh") -> Any:
    """The arrays with their first axis spread over `data`. Of several processes each has them whole, or its `own_rows`."""
    return _placed(tree, mesh, DATA)


def everywhere(tree: Any, mesh: "Mesh") -> Any:
    """The arrays, which every process has, whole on every device."""
    return _placed(tree, mesh, None)


def _placed(tree, mesh, axis):
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    sharding = NamedSharding(mesh, PartitionSpec(axis) if axis else PartitionSpec())
    return jax.tree.map(lambda leaf: placed(leaf, sharding), tree)


def placed(leaf: Any, sharding) -> Any:
    """One array (random keys too) on the devices of a sharding, which may be of several processes."""
    import jax

    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if _is_key(leaf):
        data = placed(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def gathered(tree: Any, mesh: "Mesh | None") -> Any:
    """The arrays whole on every device of the mesh, so that each process can read them; by all of them at once."""
    import jax

    if mesh is None:
        return tree
    return jax.tree.map(lambda leaf: leaf if leaf.is_fully_replicated else _gather(mesh)(leaf), tree)


@functools.lru_cache(maxsize=8)
def _gather(mesh):
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    return jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))


def unspread(tree: Any) -> Any:
    """Arrays that are the same on all devices of several processes as arrays of this process; others as they are."""
    import jax
    import jax.numpy as jnp

    def one(leaf):
        if leaf.is_fully_addressable:
            return leaf
        if _is_key(leaf):
            data = jnp.asarray(np.asarray(jax.random.key_data(leaf)))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return jnp.asarray(np.asarray(leaf))

    return jax.tree.map(one, tree)


def room_for_programs(share: float = 0.6) -> bool:
    """Drops all compiled programs where the process has more than `share` of the memory maps that Linux allows it
    (vm.max_map_count, 65,530 unless set); whether it did.

    XLA's programs for the CPU take some hundred maps each, and the one that finds none left ends the process by a
    segmentation fault. What is dropped is taken from the compilation cache when it is next needed.
    """
    import jax

    try:
        most = int(Path("/proc/sys/vm/max_map_count").read_text())
        taken = Path("/proc/self/maps").read_bytes().count(b"\n")
    except (OSError, ValueError):  # not Linux
        return False
    if taken < share * most:
        return False
    jax.clear_caches()
    return True


def _is_key(leaf) -> bool:
    import jax

    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
