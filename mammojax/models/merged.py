"""Scanning and classification merged in one graph, from pixels to a score (Figure 2 of the paper)."""

import jax
import jax.numpy as jnp
from flax import nnx

from mammojax.errors import UserError
from mammojax.models.backbones.contract import Backbone
from mammojax.models.plans import DensePlan, Plan
from mammojax.models.scanning import ScanningNetwork, scan


class Frozen(nnx.Variable):
    """Weights that are not trained: no gradient, regularisation or optimiser sees them."""


class MammogramNet(nnx.Module):
    """scanning: the pretrained network. classifier: of its maps, any of `classifiers`. Both are trained, but for what is `Frozen`.

    dtype: of the scanning network's products, float32 or bfloat16; weights, sums and the classifier are float32.
    """

    def __init__(self, scanning: ScanningNetwork, classifier: nnx.Module, *, dtype=jnp.float32):
        self.scanning = scanning
        self.classifier = classifier
        self.dtype = jnp.dtype(dtype)

    def __call__(
        self,
        batch: jax.Array,
        plan: Plan | DensePlan,
        where: jax.Array | None = None,
        progress: jax.Array | float = 1.0,
    ) -> jax.Array:
        """float32[b]: scores (logits) of prepared crops float32[b, H, W, 1] in [0, 1]; jit with the plan static.

        where: bool[b, rows, columns] of the plan's map (of a `DensePlan` map_shape, False beyond the crop's cells),
        None for all of it; progress: see `classifiers`. What lies within a layer of the scanning network is computed again on the way back instead of kept.
        """
        return self.classifier(scan(self.scanning, batch, plan, dtype=self.dtype), where, progress)


def layer_depth(path, backbone: Backbone) -> int:
    """How far from the pixels a parameter of a `MammogramNet` lies: 0 for the first layer of the scanning network, then
    one more for each of its parts, and len(backbone.parts) for all of the classifier.

    path: of the parameter, as `jax.tree_util.tree_map_with_path` gives it.
    Raises ValueError for a parameter of neither.
    """
    names = [str(getattr(key, "key", getattr(key, "name", key))) for key in path]
    if names[0] == "classifier":
        return len(backbone.parts)
    if names[:2] == ["scanning", "layers"]:
        part = names[2].split("_")[0]  # block3_expand is a layer of block3
        if part in backbone.parts:
            return backbone.parts.index(part)
    raise ValueError(f"{'.'.join(names)} is no parameter of a network on {backbone.name}")


def freeze(network: ScanningNetwork, layers: int) -> None:
    """Makes the first `layers` layers of a scanning network, from the pixels on, `Frozen`, in place.

    layers: 0 for none, up to len(backbone.parts) for all. The way back through the graph ends at the first layer that is
    not frozen. Raises UserError for other numbers.
    """
    check_frozen(layers, network.backbone)
    for name, layer in network.layers.items():
        if layer_depth(("scanning", "layers", name), network.backbone) < layers:
            for part, value in layer.items():
                layer[part] = Frozen(value[...])


def check_frozen(layers: int, backbone: Backbone) -> None:
    """UserError for a number of layers that cannot be frozen (config.finetune.frozen)."""
    if not 0 <= layers <= len(backbone.parts):
        raise UserError(
            f"config.finetune.frozen is {layers}; {backbone.name} has {len(backbone.parts)} layers "
            f"({backbone.parts[0]} to {backbone.parts[-1]}), expected 0 to {len(backbone.parts)}"
        )
