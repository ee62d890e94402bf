"""Scanning and classification merged in one graph, from pixels to a score (Figure 2 of the paper)."""

import jax
from flax import nnx

from mammojax.models.classifier import Classifier
from mammojax.models.scanning import Plan, ScanningNetwork, scan


class MammogramNet(nnx.Module):
    """scanning: the pretrained network. classifier: of its representations. Both are trained."""

    def __init__(self, scanning: ScanningNetwork, classifier: Classifier):
        self.scanning = scanning
        self.classifier = classifier

    def __call__(self, batch: jax.Array, plan: Plan) -> jax.Array:
        """float32[b]: scores (logits) of prepared crops float32[b, H, W, 1] in [0, 1]; jit with the plan static.

        What lies between the two networks is computed again on the way back instead of kept.
        """
        return self.classifier(nnx.remat(scan, static_argnums=2)(self.scanning, batch, plan))
