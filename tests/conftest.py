"""What all tests share: where the real pictures lie when they are at hand, and a network that costs little."""

import copy
import dataclasses
import gc
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # tests state bits and tolerances of the CPU
# workers, and the programs that tests start, share what was compiled
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "compiled")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")


@pytest.fixture(scope="module", autouse=True)
def programs_of_this_file():
    """A worker holds the compiled programs of one file of tests: those of all files took gigabytes."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
        gc.collect()


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


SHAPES = ((100, 60), (140, 90))  # two plans
CHANNELS = 24


class Pictures:
    """Small pictures in two shapes, as a prepared data set gives them: what scanning and training read of a `RecordSet`: twelve crops, the last two of another shape, a third positive."""

    directory = Path("pictures")

    def __init__(self):
        rng = np.random.default_rng(0)
        self.labels = (np.arange(12) % 3 == 0).astype(np.int32)
        self.images = [
            rng.integers(0, 4096, SHAPES[i > 9]).astype(np.uint16) // (1 + self.labels[i]) for i in range(12)
        ]
        self.records = tuple(
            SimpleNamespace(height=image.shape[0], width=image.shape[1], record=str(i), number=i + 1,
                            sha256=str(i), patient=str(i), breast=str(i), label=int(self.labels[i]))
            for i, image in enumerate(self.images)
        )  # fmt: skip

    def __len__(self):
        return len(self.images)

    def tissue(self, i):
        rows, columns = (-(-side // 8) for side in self.images[i].shape)
        return np.full((rows, columns), 255, np.uint8)

    def __getitem__(self, i):
        return {
            "image": self.images[i],
            "tissue": self.tissue(i),
            "bits": 12,
            "label": int(self.labels[i]),
            "index": i,
        }


@pytest.fixture
def pictures():
    return Pictures()


@pytest.fixture
def network(thin_network):
    own = copy.deepcopy(thin_network)
    own.channels = CHANNELS
    return own


@pytest.fixture(scope="session")
def few_films(tmp_path_factory):
    """few_films(seed, patients) -> settings of a phantom set of few small films; another seed gives other films."""
    from mammojax.settings import from_mapping

    def settings(seed: int, patients: int = 8):
        folder = tmp_path_factory.mktemp("phantom")
        phantom = {"patients": patients, "prevalence": 0.5, "height": 256, "width": 192}
        return from_mapping(
            {
                "run": str(folder / "run"),
                "seed": seed,
                "data": {
                    "name": "phantom",
                    "source": str(folder / "dicom"),
                    "workers": 0,
                    "phantom": phantom,
                },
                "crossval": {
                    "folds": 2,
                    "arms": ("resize224_svm", "exam_bce", "cells_bce"),
                    "resamples": 40,
                },
                "training": {"inner": 2},
            }
        )

    return settings


@pytest.fixture(scope="session")
def finished_run(few_films):
    """The `crossval.Run` of such a set, made in this process and read by several files of tests: write into `own_run`."""
    from mammojax.experiment import crossval

    return crossval(few_films(0), say=lambda line: None)


@pytest.fixture(scope="module")
def own_run(finished_run, tmp_path_factory):
    """A copy of it in which one file of tests may write; the films stay where they are."""
    directory = shutil.copytree(finished_run.directory, tmp_path_factory.mktemp("own") / "run")
    settings = dataclasses.replace(finished_run.settings, run=str(directory))
    return dataclasses.replace(finished_run, settings=settings)
