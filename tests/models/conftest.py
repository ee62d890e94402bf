"""Networks that several tests of this folder read with."""

import pytest

from mammojax.errors import UserError
from mammojax.models.scanning import ScanningNetwork, load_backbone


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
