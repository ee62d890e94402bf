"""Scanning networks, one file each. A new one is a file here and a line in `BACKBONES`.

A file holds `BACKBONE` (its contract), `load(weights, seed)` (variables, provenance, identity) and `apply(variables,
batch, tap, first_strides)`.
"""

BACKBONES = {
    "efficientnet_lite0": "mammojax.models.backbones.efficientnet_lite0",
    "vgg_m": "mammojax.models.backbones.vgg_m",
}
