"""The Grain pipeline: augmentation, and the same numbers for any number of workers and threads."""

import subprocess
import sys

import numpy as np
import pytest

from mammojax.datasets.pipeline import Augmentation, augment, crops, draw

STRONG = Augmentation(flip=0.5, rotation=10, scaling=0.2, intensity=0.2)


class Pictures:
    """Six small crops: a bright half-disc at the chest wall (left edge), dark background."""

    def __len__(self):
        return 6

    def __getitem__(self, i):
        rows, columns = np.mgrid[:80, :50]
        breast = (rows - 40) ** 2 / 35**2 + columns**2 / 38**2 < 1
        image = np.where(breast, 1000 + 100 * i + rows, 0).astype(np.uint16)
        tissue = np.rint(255 * np.pad(breast, ((0, 0), (0, 6))).reshape(10, 8, 7, 8).mean((1, 3))).astype(
            np.uint8
        )
        return {"image": image, "tissue": tissue, "bits": 12, "index": i}


def mean(element):
    return {"index": element["index"], "value": float(element["image"].astype(np.float64).sum())}


def values(**options):
    settings = {"augmentation": STRONG, "seed": 5, "transform": mean} | options
    return [(e["index"], e["value"]) for e in crops(Pictures(), range(6), **settings)]


def changed_by(picture, augmentation, seed):
    return augment(picture, 12, draw(augmentation, np.random.default_rng(seed)))


def test_no_augmentation_returns_the_pixels_unchanged():
    picture = Pictures()[2]["image"]
    assert np.array_equal(changed_by(picture, Augmentation(), 0), picture)


def test_a_flip_is_up_down_so_that_the_chest_wall_stays_left():
    picture = Pictures()[0]["image"]
    flipped = changed_by(picture, Augmentation(flip=1.0), 0)
    assert np.array_equal(flipped, picture[::-1])


@pytest.mark.parametrize("seed", range(20))
def test_augmentation_keeps_type_range_background_and_the_breast_at_the_chest_wall(seed):
    picture = Pictures()[0]["image"]
    changed = changed_by(picture, STRONG, seed)
    assert changed.dtype == np.uint16 and changed.shape == picture.shape and changed.max() < 2**12
    assert (
        changed[:, -1].max() == 0 and changed[40, 0] > 0
    )  # background stays dark, the breast stays attached
    area = (changed > 0).mean() / (picture > 0).mean()
    assert 1 / 1.25**2 < area < 1.25**2  # scaling is within 1.2 a side, the rest is interpolation at the edge


def test_the_mask_moves_with_its_picture():
    plain, flipped = (
        next(iter(crops(Pictures(), [0], augmentation=change, seed=0, transform=dict)))
        for change in (None, Augmentation(flip=1.0))
    )
    assert not np.array_equal(plain["tissue"], plain["tissue"][::-1])
    assert np.array_equal(flipped["tissue"], plain["tissue"][::-1])
    assert np.array_equal(flipped["image"], plain["image"][::-1])


def test_order_and_random_numbers_do_not_depend_on_threads():
    assert values(threads=1) == values(threads=8) == values()
    assert [i for i, _ in values()] == list(range(6))


def test_another_seed_gives_other_augmentations():
    assert values() != values(seed=6)


def test_worker_processes_give_the_same_numbers(tmp_path):
    program = (
        "import sys, json\nsys.path.insert(0, 'tests/datasets')\n"
        "from absl import app\nimport test_pipeline as t\n"
        "def main(argv): print(json.dumps(t.values(workers=2)))\n"
        "if __name__ == '__main__': app.run(main)\n"
    )
    path = tmp_path / "with_workers.py"
    path.write_text(program)
    done = subprocess.run(
        [sys.executable, path],
        capture_output=True,
        text=True,
        timeout=3600,
        check=True,
        env={**__import__("os").environ, "PYTHONPATH": "."},
    )
    import json

    assert [tuple(v) for v in json.loads(done.stdout.splitlines()[-1])] == values()
