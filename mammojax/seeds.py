"""One seed for a run; every random stream is derived from it by name, so that the order of things does not matter."""

import hashlib


def stream(seed: int, *names: str | int) -> int:
    """A seed in [0, 2**31) for the stream of these names, such as `stream(0, "auc", "fold", 3, "shuffle")`."""
    text = "/".join((str(int(seed)), *map(str, names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
