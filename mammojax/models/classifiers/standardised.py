"""What classifiers share: channels in units of their deviation over the training folds, and heat maps refused."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mammojax.errors import UserError

FURTHEST = 6.0  # deviations: what lies beyond is brought back to it, so that no single cell rules a score


class Normalisation(nnx.Variable):
    """Channel means and deviations of the training representations; fixed, not trained."""


class Standardised(nnx.Module):
    """A classifier of maps of c channels; mean and deviation are 0 and 1 until `set_normalisation`."""

    def __init__(self, channels: int):
        self.mean = Normalisation(jnp.zeros(channels))
        self.deviation = Normalisation(jnp.ones(channels))

    def set_normalisation(self, mean: np.ndarray, deviation: np.ndarray) -> None:
        """Sets the standardisation of the input: float[c] each, from the training folds."""
        self.mean[...] = jnp.asarray(mean, jnp.float32)
        self.deviation[...] = jnp.asarray(deviation, jnp.float32)

    def standardise(self, cells: jax.Array, where: jax.Array) -> jax.Array:
        """float32[..., c]: (cells - mean) / deviation within +-6, zero where `where`, bool[...], is False, whatever lies
        there (NaN too, and on the way back)."""
        known = jnp.where(where[..., None], cells, self.mean[...])
        return jnp.clip((known - self.mean[...]) / self.deviation[...], -FURTHEST, FURTHEST)

    def cell_scores(self, maps: jax.Array, where: jax.Array | None = None) -> jax.Array:
        """UserError: only classifiers that score cells have them."""
        raise UserError(
            f"{type(self).__module__.split('.')[-1]} gives no score a cell; heat maps need config.model.classifier=mil"
        )


def flat_cells(maps: jax.Array, where: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """(float32[b, n, c], bool[b, n]): the cells of maps [b, rows, columns, c] and which of them are tissue."""
    cells = maps.reshape(maps.shape[0], -1, maps.shape[-1])
    return cells, jnp.ones(cells.shape[:2], bool) if where is None else where.reshape(cells.shape[:2])
