"""Random kernels in place of published ones: for measurements and tests, and said loudly where a user gets them."""

import warnings
from collections.abc import Mapping

import numpy as np

from mammojax.models.weights.converted import Layers, how_to_convert


def random_layers(shapes: Mapping[str, tuple[int, ...]], seed: int) -> Layers:
    """He-initialised kernels (HWIO, float32) of these shapes and zero biases."""
    rng = np.random.default_rng(seed)
    return {
        name: {
            "kernel": rng.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape).astype(np.float32),
            "bias": np.zeros(shape[-1], np.float32),
        }
        for name, shape in shapes.items()
    }


def said_loudly(title: str, backbone: str, published: dict[str, str]) -> str:
    """Warns that the network's weights are random, and how to get the published ones; the provenance to record."""
    text = f"{title} with RANDOM weights: the published ones were not given"
    warnings.warn(f"{text}; {how_to_convert(backbone, published)}", stacklevel=3)
    return text
