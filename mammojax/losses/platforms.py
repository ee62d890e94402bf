"""What the losses choose by the platform that they run on: here, and nowhere else.

The values and their accuracy are the same on all; `tests/losses/test_platforms.py` runs each form on the CPU.
"""

from typing import NamedTuple

import jax


class Platform(NamedTuple):
    """float64: the hardware has it. Else what needs more than 24 bits is the sum of two float32 (`wide.py`), and sums into
    cells are products with one-hot matrices (`fast/products.py`), where a scatter would take one address at a time."""

    float64: bool


PLATFORMS = {"cpu": Platform(float64=True), "gpu": Platform(float64=True), "tpu": Platform(float64=False)}


def name() -> str:
    """The platform that programs are traced for: a key of `PLATFORMS`; one that is not known is taken for the most limited."""
    found = jax.default_backend()
    return found if found in PLATFORMS else "tpu"


def here() -> Platform:
    return PLATFORMS[name()]
