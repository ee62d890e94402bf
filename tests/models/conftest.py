"""Networks that several tests of this folder read with."""

import numpy as np
import pytest

from mammojax.errors import UserError
from mammojax.models.backbones import vgg_m
from mammojax.models.scanning import ScanningNetwork, load_backbone


def thin_vgg_m(seed: int = 0) -> dict:
    """Grey variables of VGG-M's wiring and geometry with few channels: cheap at any size."""
    widths = {"conv1": (7, 1, 12), "conv2": (5, 12, 16)}
    widths |= {"conv3": (3, 16, 16), "conv4": (3, 16, 16), "conv5": (3, 16, 16), "fc6": (6, 16, 24)}
    rng = np.random.default_rng(seed)
    return {
        name: {
            "kernel": rng.normal(0, np.sqrt(2 / (k * k * a)), (k, k, a, b)).astype(np.float32),
            "bias": rng.normal(0, 0.1, b).astype(np.float32),
        }
        for name, (k, a, b) in widths.items()
    }


@pytest.fixture(scope="session")
def thin_network() -> ScanningNetwork:
    assert set(thin_vgg_m()) == set(vgg_m.SHAPES)
    return ScanningNetwork("vgg_m", "fc6", thin_vgg_m(), "random", "thin")


def _lite(tap) -> ScanningNetwork:
    pytest.importorskip("PIL")
    try:
        return load_backbone("efficientnet_lite0", tap=tap)
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def lite() -> ScanningNetwork:
    return _lite(None)


@pytest.fixture(scope="session")
def lite_stride8() -> ScanningNetwork:
    """The first five blocks: gradients compile in a third of the time."""
    return _lite("stride8")
