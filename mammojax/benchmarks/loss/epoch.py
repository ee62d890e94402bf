"""An epoch of eq. (3) of Sulam et al. 2017, its steps alone: what it costs, and how far its gradient is off.

Every step pairs a batch of new scores with the buffers: with all scores of the training set, O(N) a step and O(N^2) an
epoch, or with reservoirs of fixed capacity (Zhao et al. 2011), O(1) a step and O(N) an epoch. The scores stay as they
are, so the error is that of sampling alone; in training the age of stored scores comes on top.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from mammojax.losses import ScoreBuffers, buffered_auc_loss
from mammojax.losses.buffers import update

BATCH = 32
STEPS = 256  # of an epoch that are run at most, chosen at random; with full buffers every step costs the same


class EpochSteps:
    """Steps of an epoch over given scores, with buffers as the epoch before left them.

    scores: float32[n]. labels: int32[n] in {0, 1}. capacity: scores of each class in the reservoirs; None keeps all.
    batches: steps of a whole epoch. steps: those that are chosen here.
    """

    def __init__(
        self, scores: np.ndarray, labels: np.ndarray, capacity: int | None, surrogate: str, seed: int = 0
    ):
        generator, self._key, size = np.random.default_rng(seed), jax.random.key(seed), len(scores)
        self.batches = -(-size // BATCH)
        chosen = generator.permutation(self.batches)[:STEPS]
        self.steps = len(chosen)
        ids = (chosen[:, None] * BATCH + np.arange(BATCH)).astype(np.int32)
        self._at, self._exists = np.minimum(ids, size - 1), ids < size
        given = scores[self._at], labels[self._at], np.where(self._exists, ids, -1)
        self._given = [jnp.asarray(x) for x in given]
        self._size = float(size)
        self._run = _program(surrogate)
        if capacity is None:
            ids = np.arange(size, dtype=np.int32)
            self._buffers = update(ScoreBuffers.init("all", size), scores, labels, ids)
            return
        members = [np.flatnonzero(labels == label) for label in (0, 1)]
        kept = [generator.choice(m, min(capacity, len(m)), replace=False) for m in members]
        ids = np.concatenate(kept).astype(np.int32)
        buffers = update(
            ScoreBuffers.init("reservoir", capacity), scores[ids], labels[ids], ids, key=self._key
        )
        self._buffers = dataclasses.replace(
            buffers, offered=jnp.asarray([len(m) for m in members], jnp.int32)
        )

    def run(self, steps: int) -> jax.Array:
        """float32[self.steps, 32]: by the scores of the first `steps` batches, the gradient that the epoch gives them.

        Loss, gradient and update of the buffers, in one program on the device; waits for it.
        """
        self._buffers, gradient = jax.block_until_ready(
            self._run(self._buffers, self._key, *self._given, steps, self._size)
        )
        return gradient

    def squares(self, gradient: np.ndarray, steps: int) -> tuple[float, float]:
        """(squared error of `steps` batches against `gradient`, float64[n] over all pairs; its squared norm there)."""
        exists = self._exists[:steps]
        expected = gradient[self._at[:steps]][exists]
        found = np.asarray(self.run(steps), np.float64)[:steps][exists]
        return float(np.sum((found - expected) ** 2)), float(np.sum(expected**2))


@functools.cache
def _program(surrogate):
    def run(buffers, key, scores, labels, ids, steps, size):
        def step(i, carry):
            buffers, gradients, key = carry
            s, y, at = scores[i], labels[i], ids[i]
            where = at >= 0

            def loss(s):
                return buffered_auc_loss(
                    s, y, at, buffers, where=where, surrogate=surrogate, implementation="tiled"
                )

            gradient = jax.grad(loss)(s) * jnp.sum(where) / size  # the mean over the batches of an epoch
            key, draw = jax.random.split(key)
            return update(buffers, s, y, at, where=where, key=draw), gradients.at[i].set(gradient), key

        return jax.lax.fori_loop(0, steps, step, (buffers, 0 * scores, key))[:2]

    return jax.jit(run, donate_argnums=0)
