"""Run by test_sharded_scan.py with eight simulated devices: writes what one device and eight find to a file.

Arguments: vgg_m (thin) or efficientnet_lite0, the padding, the output (.npz), the axes of the meshes (rows, both).
"""

import re
import sys

import jax
import numpy as np
from flax import nnx

from mammojax.models.plans import plan
from mammojax.models.scanning import ScanningNetwork, load_backbone, scan
from mammojax.models.sharding import place_rows, scan_sharded
from tests.conftest import thin_vgg_m


def sizes_of(collective: str, program: str) -> list[int]:
    """Elements of every array that this collective moves in a compiled program."""
    shapes = re.findall(rf"= \(?\w+\[([\d,]*)\][^=]* {collective}(?:-start)?\(", program)
    return [int(np.prod([int(side) for side in shape.split(",") if side])) for shape in shapes]


def main(name: str, padding: str, output: str, *meshes: str) -> None:
    assert len(jax.devices()) == 8
    if name == "vgg_m":
        network = ScanningNetwork(name, None, thin_vgg_m(), "", "")
    else:
        network = load_backbone(name, tap="stride8")
    made = plan(
        (600, 420) if name == "vgg_m" else (250, 160), network.backbone, 7, tap=network.tap, padding=padding
    )
    pixels = np.random.default_rng(0).uniform(0, 1, (2, *made.input_shape, 1)).astype(np.float32)
    graph, state = nnx.split(network)
    found = {}
    # rows alone, and images over `data` besides
    for axes, shape in {"one": None, "rows": (8,), "both": (2, 4)}.items():
        if axes not in ("one", *meshes):
            continue
        if shape is None:
            run, placed = scan, pixels
        else:
            names = ("rows",) if axes == "rows" else ("data", "rows")
            mesh = jax.make_mesh(shape, names, axis_types=(jax.sharding.AxisType.Auto,) * len(shape))
            placed = place_rows(pixels, mesh)
            assert placed.sharding.shard_shape(placed.shape)[1] < pixels.shape[1] / shape[-1] + 1

            def run(network, x, made, mesh=mesh):
                return scan_sharded(network, x, made, mesh)

        def loss(state, x, run=run):
            representation = run(nnx.merge(graph, state), x, made)
            return (representation**2).mean(), representation

        compiled = (
            jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)).lower(state, placed).compile()
        )
        (_, representation), (weights, slopes) = compiled(state, placed)
        found[f"{axes} representation"] = representation
        found[f"{axes} pixels"] = np.asarray(slopes)[:, : made.input_shape[0]]
        found[f"{axes} weights"] = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(weights)])
        text = compiled.as_text()
        found[f"{axes} gathered"] = max(sizes_of("all-gather", text), default=0)
        found[f"{axes} exchanged"] = len(sizes_of("collective-permute", text))
    np.savez(output, image=pixels[0].size, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
