"""What a soak does to unfinished fits: every damage to every kind of file, the one that came least often first."""

import random

from mammojax.benchmarks.survival import DAMAGES, Survival, _alter
from mammojax.runs.stages import WORK

FILES = {
    "checkpoints/8/manifest": b"manifest",
    "checkpoints/8/state/d/aa0": b"numbers",
    "checkpoints/8/state/d/bb1": b"more",
    "checkpoints/8/checksums.json": b"{}",
    "watched/00001.npy": b"scores",
    "watched/00002.npy": b"scores",
    "metrics.jsonl": b"{}",
}
KINDS = ("manifest", "data", "checksums.json", "watched", "metrics.jsonl")


def test_every_kind_of_file_meets_every_damage(tmp_path):
    place, seen, draw = tmp_path / "run", Survival(), random.Random(0)
    folder = place / "cells" / "key" / WORK / "final"
    for _ in range(len(KINDS) * len(DAMAGES)):
        for name, data in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        before = sum(seen.altered.values())
        _alter(place, draw, seen)
        left = {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}
        assert sum(left.get(name) != data for name, data in FILES.items()) == 1
        assert sum(seen.altered.values()) == before + 1
    assert seen.altered == {(how, kind): 1 for how in DAMAGES for kind in KINDS}


def test_without_a_fit_nothing_is_damaged(tmp_path):
    seen = Survival()
    _alter(tmp_path, random.Random(0), seen)
    assert not seen.altered
