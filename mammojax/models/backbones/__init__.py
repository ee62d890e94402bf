"""Scanning networks, one file each. A new one is a file here and a line in `BACKBONES`.

A file holds `BACKBONE` (its contract), `grey_shapes()` (of its kernels), `convert(source)` (weights from a published
file), `load(weights, seed)` (variables, provenance, identity), `layers(variables, tap)` (its steps by name, with
`first_strides` and `padding` where it is read by strides), `apply(variables, batch, tap, first_strides)` and
`whole_image(variables, batch)`.
"""

BACKBONES = {
    "efficientnet_lite0": "mammojax.models.backbones.efficientnet_lite0",
    "vgg_m": "mammojax.models.backbones.vgg_m",
    "vgg_16": "mammojax.models.backbones.vgg_16",
}
