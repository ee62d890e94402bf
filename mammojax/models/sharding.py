"""One huge image on many devices: its rows lie over the mesh axis `rows`, and so do the rows of every map.

The compiler splits the convolutions and exchanges the rows that neighbours need (collective-permute); no device ever
holds the whole image or a whole map of the first layers. That has to be asked for after every layer: the rows of a map
without padding do not follow from the rows of the one before, and left alone the compiler gathers the image.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mammojax.models.plans import DensePlan, Plan
from mammojax.models.scanning import ScanningNetwork, feature_map, pooled
from mammojax.runs.devices import ROWS


def over_rows(mesh: Mesh) -> NamedSharding:
    """Images [b, H, W, ...] over the axes `data` (where the mesh has one) and `rows`."""
    return NamedSharding(mesh, PartitionSpec("data" if "data" in mesh.axis_names else None, ROWS))


def place_rows(batch: np.ndarray, mesh: Mesh) -> jax.Array:
    """float32[b, H', W, 1] with its rows on their devices; zero rows make H' a multiple of the devices."""
    lacking = -batch.shape[1] % mesh.shape[ROWS]
    return jax.device_put(np.pad(batch, ((0, 0), (0, lacking), (0, 0), (0, 0))), over_rows(mesh))


def scan_sharded(
    network: ScanningNetwork, batch: jax.Array, chosen: Plan | DensePlan, mesh: Mesh, *, dtype=jnp.float32
) -> jax.Array:
    """float32[b, np, np, c]: `scan` of images whose rows lie over the mesh axis `rows`; equal to rounding.

    batch: as `place_rows` gives it. Differentiable; jit with the plan and the mesh static.
    """
    rows, columns = chosen.input_shape
    if batch.shape[2] != columns or not rows <= batch.shape[1] < rows + mesh.shape[ROWS]:
        raise ValueError(f"pixels have the shape {batch.shape[1:3]}, the plan reads {chosen.input_shape}")
    sharding = over_rows(mesh)

    def placed(x):
        return jax.lax.with_sharding_constraint(x, sharding) if x.shape[1] >= mesh.shape[ROWS] else x

    values = feature_map(network, placed(batch[:, :rows]), chosen, dtype=dtype, placed=placed)
    # XLA's partitioner scatters wrong gradients where maxima overlap by more than their step: the map, small by now, is
    # gathered first
    whole = NamedSharding(mesh, PartitionSpec(sharding.spec[0]))
    return pooled(jax.lax.with_sharding_constraint(values, whole), chosen)
