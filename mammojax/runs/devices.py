"""The devices of one program as a mesh: images of a batch lie over the axis `data`, rows of one image over `rows`."""

from typing import TYPE_CHECKING, Any

import numpy as np

from mammojax.errors import UserError

if TYPE_CHECKING:
    from jax.sharding import Mesh

DATA, ROWS = "data", "rows"


def device_mesh(data: int, rows: int) -> "Mesh | None":
    """The mesh of this process's devices, None for one device. data: of the axis, 0 for all that are there.

    Raises UserError if there are not as many.
    """
    import jax
    from jax.sharding import AxisType, Mesh

    devices = jax.local_devices()
    size = data or max(len(devices) // rows, 1)
    if size * rows > len(devices):
        raise UserError(
            f"mesh.data x mesh.rows is {size} x {rows}, and {len(devices)} device(s) are there "
            f"({devices[0].platform}); give smaller ones"
        )
    if size * rows == 1:
        return None
    grid = np.asarray(devices[: size * rows]).reshape(size, rows)
    return Mesh(grid, (DATA, ROWS), axis_types=(AxisType.Auto,) * 2)


def described(mesh: "Mesh | None") -> str:
    """Devices and mesh, in words."""
    import jax

    device = jax.local_devices()[0]
    kind = f"{device.platform}: {device.device_kind}"
    if mesh is None:
        return f"one device of {jax.local_device_count()} ({kind})"
    return f"{mesh.size} devices ({kind}), mesh data {mesh.shape[DATA]} x rows {mesh.shape[ROWS]}"


def padded_to(size: int, mesh: "Mesh | None") -> int:
    """The smallest number from `size` on that the axis `data` divides."""
    parts = 1 if mesh is None else mesh.shape[DATA]
    return -(-size // parts) * parts


def over_data(tree: Any, mesh: "Mesh") -> Any:
    """The arrays with their first axis spread over `data`."""
    return _placed(tree, mesh, DATA)


def everywhere(tree: Any, mesh: "Mesh") -> Any:
    """The arrays whole on every device."""
    return _placed(tree, mesh, None)


def _placed(tree, mesh, axis):
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(axis)))
