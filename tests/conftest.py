"""What all tests share: where the real pictures lie when they are at hand."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # tests state bits and tolerances of the CPU


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real pictures beside the checkout; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("MAMMOJAX_REAL_DATA", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"real pictures are not at hand ({folder}/data is absent; set MAMMOJAX_REAL_DATA)")
    return folder
