"""From the pixels of a crop to the np x np x c representation, in one fully convolutional graph.

The paper, section 4: a pretrained convolutional network reads np x np overlapping windows of the full-resolution image,
each giving a feature vector. How a crop is read is its plan (`plans`); `windows` holds the same reading window by window.
"""

import hashlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mammojax.errors import UserError
from mammojax.models.layers import window_maxima
from mammojax.models.plans import DensePlan, Plan, backbone_module, plan, programs

__all__ = [
    "Plan",
    "ScanningNetwork",
    "load_backbone",
    "plan",
    "prepare_image",
    "programs",
    "scan",
    "whole_image_features",
]


def prepare_image(image: np.ndarray, bits: int, chosen: Plan | DensePlan) -> np.ndarray:
    """float32[H, W, 1] in [0, 1]: a crop reduced and padded as planned, at full bit depth.

    image: uint16[h, w], values in [0, 2**bits - 1]; of the plan's crop size or (augmented) near it.
    """
    rows, columns = chosen.reduced_shape
    pixels = image.astype(np.float32)
    if pixels.shape != (rows, columns):
        from PIL import Image

        pixels = np.asarray(Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BOX))
    out = np.zeros((*chosen.input_shape, 1), np.float32)
    out[:rows, :columns, 0] = pixels / np.float32(2**bits - 1)
    return out


class ScanningNetwork(nnx.Module):
    """A pretrained network up to its tap.

    backbone: its contract. tap, channels: where representations come from. provenance: a line for people. identity: a
    hash of the weights, for cache keys.
    """

    def __init__(self, name: str, tap: str | None, variables: dict, provenance: str, identity: str):
        self.backbone = backbone_module(name).BACKBONE
        try:
            chosen = self.backbone.tap(tap)
        except KeyError:
            known = ", ".join(t.name for t in self.backbone.taps)
            raise UserError(f"unknown tap {tap!r} of {name}; known are {known}") from None
        self.tap, self.channels = chosen.name, chosen.channels
        self.provenance, self.identity = provenance, identity
        self.layers = nnx.Dict(
            {
                layer: nnx.Dict({part: nnx.Param(jax.numpy.asarray(value)) for part, value in parts.items()})
                for layer, parts in variables.items()
            }
        )

    def variables(self) -> dict:
        """{layer: {"kernel", "bias"}} as arrays."""
        return {
            name: {part: value[...] for part, value in layer.items()} for name, layer in self.layers.items()
        }


def load_backbone(
    name: str, *, tap: str | None = None, weights: str | None = None, seed: int = 0
) -> ScanningNetwork:
    """The pretrained scanning network of this name.

    weights: a file, None for the backbone's own; seed: of random weights where there are none.
    Raises UserError for an unknown name or tap, and for weights that are absent or of another network.
    """
    variables, provenance, weights_identity = backbone_module(name).load(weights, seed)
    identity = hashlib.sha256(f"{name} {weights_identity}".encode()).hexdigest()[:16]
    return ScanningNetwork(name, tap, variables, provenance, identity)


def feature_map(
    network: ScanningNetwork,
    batch: jax.Array,
    chosen: Plan | DensePlan,
    *,
    dtype=jnp.float32,
    placed: Callable[[jax.Array], jax.Array] | None = None,
) -> jax.Array:
    """float32[b, h, w, c]: the tap's map of pixels float32[b, H, W, 1] of any size, read with the plan's strides.

    dtype: see `scan`. placed: applied to every map between layers.
    """
    options = {"padding": chosen.padding, "dtype": dtype, "placed": placed}
    apply = backbone_module(network.backbone.name).apply
    return apply(network.variables(), batch, network.tap, chosen.first_strides, **options)


def scan(
    network: ScanningNetwork, batch: jax.Array, chosen: Plan | DensePlan, *, dtype=jnp.float32
) -> jax.Array:
    """float32[b, np, np, c]: the representations of prepared crops, or all cells of the tap's map (a `DensePlan`; those
    of the padding too). batch: float32[b, H, W, 1] in [0, 1], H x W as planned. Differentiable in pixels and weights; jit with the plan static.

    dtype: of the products, float32 or bfloat16; sums are float32 in both.
    """
    if batch.shape[1:3] != chosen.input_shape:
        raise ValueError(f"pixels have the shape {batch.shape[1:3]}, the plan reads {chosen.input_shape}")
    return pooled(feature_map(network, batch, chosen, dtype=dtype), chosen)


def pooled(values: jax.Array, chosen: Plan | DensePlan) -> jax.Array:
    """[b, np, np, c]: the tap's map as representations."""
    if chosen.window is None:
        return values
    return window_maxima(values, size=chosen.window, step=chosen.step)


def whole_image_features(network: ScanningNetwork, batch: jax.Array) -> jax.Array:
    """float32[b, f]: the network's final features of whole images, float32[b, 224, 224, 1] in [0, 1] (baseline 1)."""
    return backbone_module(network.backbone.name).whole_image(network.variables(), batch)
