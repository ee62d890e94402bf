"""What all tests share: where the real pictures lie when they are at hand, and a network that costs little."""

import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # tests state bits and tolerances of the CPU


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real pictures beside the checkout; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("MAMMOJAX_REAL_DATA", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"real pictures are not at hand ({folder}/data is absent; set MAMMOJAX_REAL_DATA)")
    return folder


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
def thin_network():
    """A `ScanningNetwork` of these; its contract still says 4096 channels, it gives 24."""
    from mammojax.models.backbones import vgg_m
    from mammojax.models.scanning import ScanningNetwork

    assert set(thin_vgg_m()) == set(vgg_m.SHAPES)
    return ScanningNetwork("vgg_m", "fc6", thin_vgg_m(), "random", "thin")
