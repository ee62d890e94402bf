"""Multiple-instance scores: a score a cell, pooled over the cells of tissue; a bias is added after pooling.

A lesion is small and the label is of the whole image: the pool "top" lets the most suspicious cells decide. Its share
falls geometrically from all cells to `top` over the first `anneal` of the training, so that chance does not choose the
cells that are learnt from. "attention" is the gated attention of Ilse, Tomczak and Welling 2018 (eq. 9) over cell scores.
An image without a cell of tissue scores the bias.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from mammojax import settings
from mammojax.errors import UserError
from mammojax.models.classifiers.standardised import Standardised, flat_cells
from mammojax.models.classifiers.top_share import mean_of_top
from mammojax.models.layers import EXACT

POOLS = ("top", "lse", "attention", "mean")
GATES = 16  # units of the gated attention
START = 0.01  # deviation of the first weights of a linear score: the scores start alike


SPATIAL = False  # cells may stand in any order: bags of tissue cells do


def build(shape: tuple[int | None, int | None, int], options: settings.Mil, *, rngs: nnx.Rngs) -> nnx.Module:
    """The classifier of maps of any size with shape[2] channels."""
    return MultipleInstance(
        shape[2],
        hidden=options.hidden,
        pool=options.pool,
        top=options.top,
        anneal=options.anneal,
        temperature=options.temperature,
        dropout=options.dropout,
        rngs=rngs,
    )


class MultipleInstance(Standardised):
    """From maps to scores, see the module and `classifiers`.

    hidden: units of one hidden layer (ReLU) a cell, 0 for a linear score. pool: one of `POOLS`. top, anneal: see
    `share`. temperature: of the pool "lse", T log mean exp(s / T): the maximum for a small one, the mean for a large
    one. dropout: share of the channels of an image that are left out while training.
    Raises UserError for an unknown pool.
    """

    def __init__(
        self,
        channels: int,
        *,
        hidden: int = 0,
        pool: str = "top",
        top: float = 0.02,
        anneal: float = 0.4,
        temperature: float = 1.0,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        if pool not in POOLS:
            raise UserError(f"unknown pool {pool!r}; known are {', '.join(POOLS)}")
        super().__init__(channels)
        self.pool, self.top, self.anneal, self.temperature = pool, top, anneal, temperature
        exact = {"precision": EXACT, "rngs": rngs}
        he, small = nnx.initializers.he_normal(), nnx.initializers.normal(START)
        width = hidden or channels
        self.hidden = nnx.Linear(channels, hidden, kernel_init=he, **exact) if hidden else None
        self.score = nnx.Linear(width, 1, kernel_init=he if hidden else small, use_bias=False, **exact)
        if pool == "attention":
            self.signal, self.gate = (nnx.Linear(width, GATES, **exact) for _ in range(2))
            self.attention = nnx.Linear(GATES, 1, use_bias=False, **exact)
        self.bias = nnx.Param(jnp.zeros(()))
        self.dropout = nnx.Dropout(dropout, rngs=rngs)

    def share(self, progress: jax.Array | float) -> jax.Array:
        """float32[]: share of the cells that count in the pool "top": top^(progress / anneal), then top."""
        if self.anneal == 0:
            return jnp.float32(self.top)
        return self.top ** jnp.minimum(1, jnp.asarray(progress, jnp.float32) / self.anneal)

    def __call__(
        self, maps: jax.Array, where: jax.Array | None = None, progress: jax.Array | float = 1.0
    ) -> jax.Array:
        """float32[b]: scores (logits); arguments as of every classifier."""
        cells, where = flat_cells(maps, where)
        scores, attention = self._cells(cells, where)
        some = _some(where)
        if self.pool == "top":
            return self.bias[...] + mean_of_top(scores, some, self.share(progress))
        if self.pool == "lse":
            return self.bias[...] + _log_mean_exp(scores, some, self.temperature)
        if self.pool == "attention":
            scores = scores * jax.nn.softmax(attention, 1, where=some)
            return self.bias[...] + jnp.sum(scores, 1)
        return self.bias[...] + jnp.sum(scores, 1) / jnp.sum(some, 1)

    def cell_scores(self, maps: jax.Array, where: jax.Array | None = None) -> jax.Array:
        """float32[b, rows, columns]: each cell's score, bias included, NaN outside tissue.

        Pooled as the classifier pools they give the image's score; under attention their mean does, with each cell
        weighed by what it is attended to.
        """
        cells, known = flat_cells(maps, where)
        scores, attention = self._cells(cells, known)
        if self.pool == "attention":
            weights = jax.nn.softmax(attention, 1, where=_some(known))
            scores = scores * weights * jnp.sum(known, 1, keepdims=True)
        return jnp.where(known, scores + self.bias[...], jnp.nan).reshape(maps.shape[:3])

    def _cells(self, cells: jax.Array, where: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(scores, attention before its softmax), float32[b, n] each and zero outside tissue."""
        kept = self.dropout(jnp.ones((cells.shape[0], cells.shape[2])))

        def one(bag):
            x, tissue, channels = bag
            x = self.standardise(x, tissue) * channels
            if self.hidden is not None:
                x = nnx.relu(self.hidden(x))
            scores = self.score(x)[:, 0]
            if self.pool != "attention":
                return jnp.where(tissue, scores, 0), jnp.zeros_like(scores)
            attention = self.attention(nnx.tanh(self.signal(x)) * nnx.sigmoid(self.gate(x)))[:, 0]
            return jnp.where(tissue, scores, 0), jnp.where(tissue, attention, 0)

        return _over_bags(one)((cells, where, kept))


def _log_mean_exp(scores: jax.Array, some: jax.Array, temperature: float) -> jax.Array:
    """float32[b]: temperature * log of the mean of exp(score / temperature) over some of the cells, at least one a bag.

    At high temperatures the logarithms of the sum and of the number are nearly one: there it is what exponentials are less
    than the highest that is summed.
    """
    highest = lax.stop_gradient(jnp.max(scores, 1, where=some, initial=-jnp.inf))
    below = jnp.where(some, scores - highest[:, None], 0) / temperature
    number = jnp.sum(some, 1)
    less = jnp.sum(jnp.expm1(below), 1) / number
    far = jax.nn.logsumexp(below, 1, where=some) - jnp.log(number)
    near = less > -0.5
    return highest + temperature * jnp.where(near, jnp.log1p(jnp.where(near, less, 0)), far)


def _some(where: jax.Array) -> jax.Array:
    """bool[b, n]: where, or every cell of an image without tissue: their scores are all zero."""
    return where | ~where.any(1, keepdims=True)


def _over_bags(function: Callable) -> Callable:
    """The function of one bag over the first axis. One after the other on a CPU, where a bag lies in the cache and the
    standardised cells of all are never in memory: a fifth of the time."""
    if jax.default_backend() == "cpu":
        return lambda bags: lax.map(jax.checkpoint(function), bags)
    return jax.vmap(function)
