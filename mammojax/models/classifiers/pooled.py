"""Statistics of every channel over the cells of tissue, and one linear score of them."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from mammojax import settings
from mammojax.errors import UserError
from mammojax.models.classifiers.standardised import Standardised, flat_cells
from mammojax.models.classifiers.top_share import mean_of_top
from mammojax.models.layers import EXACT

STATISTICS = ("mean", "top", "bottom", "deviation")
_TINY = 1e-6  # added to a variance: the root of 0 has no slope


SPATIAL = False  # cells may stand in any order: bags of tissue cells do


def build(
    shape: tuple[int | None, int | None, int], options: settings.Pooled, *, rngs: nnx.Rngs
) -> nnx.Module:
    """The classifier of maps of any size with shape[2] channels."""
    return PooledStatistics(shape[2], statistics=options.statistics, top=options.top, rngs=rngs)


class PooledStatistics(Standardised):
    """From maps to scores, see `classifiers`.

    statistics: of `STATISTICS`, of each channel over the cells of tissue. top: share of them (at least one cell) whose
    mean is `top`, the largest, and `bottom`, the smallest. An image without tissue scores the bias.
    Raises UserError for no statistics and for unknown ones.
    """

    def __init__(
        self,
        channels: int,
        *,
        statistics: tuple[str, ...] = ("mean", "top", "deviation"),
        top: float = 0.02,
        rngs: nnx.Rngs,
    ):
        unknown = [name for name in statistics if name not in STATISTICS]
        if unknown or not statistics:
            raise UserError(
                f"config.model.pooled.statistics is {tuple(statistics)}; expected some of {', '.join(STATISTICS)}"
            )
        super().__init__(channels)
        self.names, self.top = tuple(statistics), top
        self.score = nnx.Linear(
            channels * len(self.names),
            1,
            kernel_init=nnx.initializers.normal(0.01),
            precision=EXACT,
            rngs=rngs,
        )

    def __call__(
        self, maps: jax.Array, where: jax.Array | None = None, progress: jax.Array | float = 1.0
    ) -> jax.Array:
        """float32[b]: scores (logits); arguments as of every classifier, progress is of no account."""
        return self.score(self.statistics(maps, where))[:, 0]

    def statistics(self, maps: jax.Array, where: jax.Array | None = None) -> jax.Array:
        """float32[b, len(statistics) c]: of the standardised channels; zero for an image without tissue."""
        cells, where = flat_cells(maps, where)

        def one(bag):
            x, tissue = bag
            return self._of_one(self.standardise(x, tissue), tissue)

        over = lax.map if jax.default_backend() == "cpu" else lambda f, bags: jax.vmap(f)(bags)
        return over(one, (cells, where))

    def _of_one(self, x: jax.Array, tissue: jax.Array) -> jax.Array:
        """float32[len(statistics) c]: of one image's cells [n, c], which are zero outside tissue."""
        count = jnp.maximum(1, jnp.sum(tissue))
        mean = jnp.sum(x, 0) / count
        some = (tissue | ~tissue.any())[None]
        of = {
            "mean": lambda: mean,
            "top": lambda: mean_of_top(x[None], some, self.top)[0],
            "bottom": lambda: -mean_of_top(-x[None], some, self.top)[0],
            "deviation": lambda: self._deviation(x - mean, tissue, count),
        }
        return jnp.concatenate([of[name]() for name in self.names])

    @staticmethod
    def _deviation(apart: jax.Array, tissue: jax.Array, count: jax.Array) -> jax.Array:
        variance = jnp.sum(jnp.where(tissue[:, None], apart, 0) ** 2, 0) / count
        return jnp.sqrt(variance + _TINY) - jnp.sqrt(_TINY)
