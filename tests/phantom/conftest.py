"""What several files of tests of the phantom read."""

import pytest

from mammojax.phantom.screening_set import (
    phantom_patient,
)
from tests.phantom.views import SMALL


@pytest.fixture(scope="session")
def screening():
    """80 small patients at the middle difficulty, every second one malignant."""
    return [view for k in range(80) for view in phantom_patient(7, k, malignant=k % 2 == 0, **SMALL)]
