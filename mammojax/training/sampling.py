"""Which samples a batch holds, and what each weighs.

A batch drawn at random from 1% positives holds none most of the time. Drawn with a share of positives instead, it says more
of them a step, and it is another distribution: weights that undo that keep every objective what it is, and change the
variance of its gradient alone.
"""

from collections.abc import Sequence

import numpy as np

from mammojax.errors import UserError


def balanced_order(labels: np.ndarray, *, batch: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """int[n]: positions in `labels`, one batch after the other (the last one may be smaller), each with `share` of positives.

    labels: int[n] in {0, 1}. share: rounded to whole samples in a batch, at least one of each class (in a batch of one
    sample, of the likelier). An epoch keeps its n samples: each sample of a class comes up equally often, give or take one,
    the scarce class again and again and of the other one as many as there is room for.
    Raises UserError if a class is missing.
    """
    labels = np.asarray(labels)
    members = [np.flatnonzero(labels == c) for c in (0, 1)]
    if not all(map(len, members)):
        raise UserError(
            "training.positives asks for batches with a share of positives, and the training samples are of one class; "
            "give training.positives=0"
        )
    positives = _positives(len(labels), batch, share)
    sizes = _sizes(len(labels), batch)
    drawn = [
        _drawn(members[0], int((sizes - positives).sum()), rng),
        _drawn(members[1], int(positives.sum()), rng),
    ]
    ends = np.cumsum(sizes - positives), np.cumsum(positives)
    parts = [np.split(d, e[:-1]) for d, e in zip(drawn, ends)]
    return np.concatenate([np.concatenate(both) for both in zip(parts[1], parts[0])])


def importance(labels: np.ndarray, *, batch: int, share: float) -> np.ndarray:
    """float32[n]: what a sample weighs each time that `balanced_order` brings it: those of an epoch add up to the number of
    samples of each class."""
    labels = np.asarray(labels)
    drawn = int(_positives(len(labels), batch, share).sum())
    positives = int(labels.sum())
    of_class = (len(labels) - positives) / max(len(labels) - drawn, 1), positives / max(drawn, 1)
    return np.asarray(of_class, np.float32)[labels]


def device_weights(labels: np.ndarray, devices: Sequence[str]) -> np.ndarray:
    """float32[n]: within a class each device weighs the same in all, and the class as many as its samples.

    So the machine that took most of the films does not decide what is learned. labels: int[n]. devices: n names.
    """
    _, cell, counts = np.unique(
        [f"{label} {device}" for label, device in zip(labels, devices)],
        return_inverse=True,
        return_counts=True,
    )
    weights, size = 1 / counts[cell], np.bincount(labels, minlength=2)
    return (weights * (size / np.maximum(np.bincount(labels, weights, 2), 1e-30))[labels]).astype(np.float32)


def _sizes(samples, batch):
    return np.minimum(batch, samples - np.arange(0, samples, batch))


def _positives(samples, batch, share):
    sizes = _sizes(samples, batch)
    return np.clip(np.round(share * sizes).astype(int), np.minimum(1, sizes - 1), np.maximum(sizes - 1, 1))


def _drawn(members, size, rng):
    """int[size]: the members in random order, all of them once before any comes again."""
    rounds = [rng.permutation(members) for _ in range(-(-size // len(members)))]
    return np.concatenate(rounds or [members[:0]])[:size]
