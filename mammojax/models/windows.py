"""The paper's reading, taken at its word: np x np overlapping windows, each cut out and put through the network alone.

The specification of `scan`, and many times as slow. With a plan of padding "valid" both give the same numbers to float32
rounding. With a network's own padding they differ: a window read alone is padded with zeros at its edges, where the one
graph has the neighbouring pixels. Windows lie where the graph's cells do:

- "stride": window i starts at pixel i s pitch and has the side that gives one cell (VGG-M, s the first stride: 7 + 108 s
  with its own padding, 7 + 162 s without).
- "pool": a window is the pixels of k x k cells of the tap's map; each channel's maximum over its own k x k map is kept.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mammojax.models.backbones.contract import receptive_field, scan_side
from mammojax.models.plans import Plan
from mammojax.models.scanning import ScanningNetwork, feature_map


def window_corners(network: ScanningNetwork, chosen: Plan) -> tuple[np.ndarray, tuple[int, int]]:
    """(int[np * np, 2], (rows, columns)): top left corners of the windows in pixels of the input, and their size."""
    tap = network.backbone.tap(network.tap)
    starts, size = [], []
    for axis in range(2):
        if chosen.window:
            pitch = receptive_field(tap.layers)[1]
            size.append(pitch * chosen.window[axis])
            pitch *= chosen.step[axis]
        else:
            stride = chosen.first_strides[axis]
            size.append(scan_side(network.backbone, tap, chosen.padding, 1, stride))
            pitch = receptive_field(tap.padded(chosen.padding), stride)[1]
        starts.append(np.arange(chosen.cells) * pitch)
    rows, columns = np.meshgrid(*starts, indexing="ij")
    return np.stack([rows.ravel(), columns.ravel()], -1), tuple(size)


def scan_windows(
    network: ScanningNetwork, batch: jax.Array, chosen: Plan, *, dtype=jnp.float32, together: int = 1
) -> jax.Array:
    """float32[b, np, np, c]: every window of prepared crops through the network on its own; arguments as of `scan`.

    together: windows that are put through at a time.
    """
    if batch.shape[1:3] != chosen.input_shape:
        raise ValueError(f"pixels have the shape {batch.shape[1:3]}, the plan reads {chosen.input_shape}")
    corners, size = window_corners(network, chosen)

    def read(corner):
        window = jax.lax.dynamic_slice(batch, (0, corner[0], corner[1], 0), (len(batch), *size, 1))
        return feature_map(network, window, chosen, dtype=dtype).max((1, 2))

    vectors = jax.lax.map(read, jnp.asarray(corners), batch_size=together)
    return jnp.moveaxis(vectors, 0, 1).reshape(len(batch), chosen.cells, chosen.cells, -1)
