"""What a soak does to checkpoints: every damage to every kind of file, the one that came least often first."""

import random

from mammojax.benchmarks.survival import DAMAGES, Survival, _alter
from mammojax.runs.stages import WORK

FILES = {"manifest": b"manifest", "state/d/aa0": b"numbers", "state/d/bb1": b"more", "checksums.json": b"{}"}


def test_every_kind_of_file_meets_every_damage(tmp_path):
    place, seen, draw = tmp_path / "run", Survival(), random.Random(0)
    folder = place / "cells" / "key" / WORK / "final" / "checkpoints" / "8"
    for _ in range(3 * len(DAMAGES)):
        for name, data in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        before = sum(seen.altered.values())
        _alter(place, draw, seen)
        left = {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}
        assert sum(left.get(name) != data for name, data in FILES.items()) == 1
        assert sum(seen.altered.values()) == before + 1
    kinds = ("manifest", "data", "checksums.json")
    assert seen.altered == {(how, kind): 1 for how in DAMAGES for kind in kinds}


def test_without_a_checkpoint_nothing_is_damaged(tmp_path):
    seen = Survival()
    _alter(tmp_path, random.Random(0), seen)
    assert not seen.altered
