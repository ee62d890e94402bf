"""What happens to files: on disks, in transfers, and on purpose. Every damage is determined by a random generator."""

from collections.abc import Callable

import numpy as np

_EXTREME = (
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    b"\1\0\0\0",
)


def _truncated(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(0, len(data))]


def _flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bits."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
    return bytes(changed)


def _flipped_head(data: bytes, rng: np.random.Generator) -> bytes:
    """Bits of the first half kilobyte, where headers are."""
    head = min(len(data), 512)
    return _flipped(data[:head], rng) + data[head:]


def _overwritten(data: bytes, rng: np.random.Generator) -> bytes:
    """Four bytes become an extreme number: a wrong length, a size, an offset."""
    place = rng.integers(0, max(1, len(data) - 4))
    return data[:place] + _EXTREME[rng.integers(len(_EXTREME))] + data[place + 4 :]


def _cut_out(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = sorted(rng.integers(0, len(data), 2))
    return data[:first] + data[last:]


def _repeated(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = sorted(rng.integers(0, len(data), 2))
    return data[:last] + data[first:]


def _inserted(data: bytes, rng: np.random.Generator) -> bytes:
    place = rng.integers(0, len(data))
    return data[:place] + rng.bytes(rng.integers(1, 64)) + data[place:]


def _zeroed(data: bytes, rng: np.random.Generator) -> bytes:
    """A lost sector."""
    first = rng.integers(0, len(data))
    last = min(len(data), first + 512)
    return data[:first] + bytes(last - first) + data[last:]


def _continued(data: bytes, rng: np.random.Generator) -> bytes:
    return data + rng.bytes(rng.integers(1, 2000))


DAMAGES: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "truncated": _truncated,
    "bits flipped": _flipped,
    "bits of the header flipped": _flipped_head,
    "number overwritten": _overwritten,
    "piece cut out": _cut_out,
    "piece repeated": _repeated,
    "bytes inserted": _inserted,
    "sector lost": _zeroed,
    "bytes appended": _continued,
}
