"""Scanning networks, one file each. A new one is a file here and a line in `BACKBONES`; a member of a family is a line.

A file, or an object in it (module:object), holds `BACKBONE` (its contract), `grey_shapes()` (of its kernels),
`convert(source)` (weights from a published file), `load(weights, seed)` (variables, provenance, identity),
`layers(variables, tap)` (its steps by name, with `first_strides` and `padding` where it is read by strides),
`apply(variables, batch, tap, first_strides)` and `whole_image(variables, batch)`.
"""

BACKBONES = {
    "efficientnet_lite0": "mammojax.models.backbones.efficientnet_lite:LITE0",
    "efficientnet_lite1": "mammojax.models.backbones.efficientnet_lite:LITE1",
    "efficientnet_lite2": "mammojax.models.backbones.efficientnet_lite:LITE2",
    "vgg_m": "mammojax.models.backbones.vgg_m",
    "vgg_16": "mammojax.models.backbones.vgg_16",
}
