"""The classifier of the paper: three convolutions with pooling down to one pixel, two fully connected layers, one score."""

import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from mammojax import settings
from mammojax.errors import UserError
from mammojax.models.classifiers.standardised import Standardised
from mammojax.models.layers import EXACT, convolution

SPATIAL = True  # reads where cells lie: maps, not bags


def build(
    shape: tuple[int | None, int | None, int], options: settings.Paper, *, rngs: nnx.Rngs
) -> nnx.Module:
    """The classifier of maps of np x np cells; UserError for maps of any size, whose padding it would read."""
    rows, columns, channels = shape
    if rows is None or columns is None:
        raise UserError(
            "the classifier paper reads maps of np x np cells and these come in all sizes; set config.model.map=grid, "
            "or config.model.classifier=mil"
        )
    return Classifier(
        channels,
        max(rows, columns),
        filters=options.filters,
        hidden=options.hidden,
        dropout=options.dropout,
        rngs=rngs,
    )


class Classifier(Standardised):
    """From representations to scores; section 4 and Figure 2 of Sulam et al. 2017.

    channels: c of the representation. cells: np. filters: of the 3 x 3 convolutions (SAME padding, ReLU), each followed
    by 2 x 2 max pooling while more than one pixel is left: 15 -> 7 -> 3 -> 1; pooling goes on after the last convolution
    for larger np. hidden: fully connected layers with ReLU and dropout. Kernels start by He et al. 2015.
    Raises UserError for no filters or no channels.
    """

    def __init__(
        self,
        channels: int,
        cells: int,
        *,
        filters: Sequence[int] = (256, 128, 256),
        hidden: Sequence[int] = (512, 512),
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        if not filters or min((channels, cells, *filters, *hidden)) < 1 or not 0 <= dropout < 1:
            raise UserError(
                f"a classifier of {channels} channels, {cells} cells, filters {tuple(filters)}, hidden "
                f"{tuple(hidden)}, dropout {dropout} cannot be built; all sizes must be positive"
            )
        super().__init__(channels)
        he, exact = _he_normal, EXACT
        sizes = (channels, *filters)
        self.convolutions = nnx.List(
            [
                nnx.Conv(a, b, (3, 3), kernel_init=he, precision=exact, rngs=rngs)
                for a, b in itertools.pairwise(sizes)
            ]
        )
        sizes = (filters[-1], *hidden)
        self.dense = nnx.List(
            [
                nnx.Linear(a, b, kernel_init=he, precision=exact, rngs=rngs)
                for a, b in itertools.pairwise(sizes)
            ]
        )
        self.score = nnx.Linear(sizes[-1], 1, precision=exact, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)

    def __call__(
        self, maps: jax.Array, where: jax.Array | None = None, progress: jax.Array | float = 1.0
    ) -> jax.Array:
        """float32[b]: scores (logits) of maps float32[b, np, np, c]; where and progress are of no account."""
        x = maps
        for _, step in self.layers(max(maps.shape[1:3]), whole=False):
            x = step(x)
        return x[:, 0, 0, 0]

    def layers(self, cells: int, *, whole: bool = True) -> list[tuple[str, Callable]]:
        """[(name, function)] from representations float32[b, cells, cells, c] to scores float32[b, 1, 1, 1].

        whole: convolutions give all their cells; False: those that pooling reads, fewer by a last odd row and column.
        """
        steps = [("standardise", lambda x: (x - self.mean[...]) / self.deviation[...])]
        for i, layer in enumerate(self.convolutions, 1):
            steps.append((f"conv{i}", lambda x, layer=layer: nnx.relu(_convolved(layer, x, whole))))
            if cells > 1:
                steps.append((f"pool{i}", _pool))
            cells = max(1, cells // 2)
        while cells > 1:
            i += 1
            steps.append((f"pool{i}", _pool))
            cells //= 2
        for i, dense in enumerate(self.dense, 1):
            steps.append((f"dense{i}", lambda x, dense=dense: self.dropout(nnx.relu(dense(x)))))
        return [*steps, ("score", self.score)]


def _he_normal(key: jax.Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike) -> jax.Array:
    """A kernel after He et al. 2015, drawn as a matrix: the same numbers in four dimensions compile thrice as long."""
    matrix = (math.prod(shape[:-1]), shape[-1])
    return nnx.initializers.he_normal()(key, matrix, dtype).reshape(shape)


def _convolved(layer: nnx.Conv, x: jax.Array, whole: bool) -> jax.Array:
    """3 x 3 with SAME padding; see `Classifier.layers`. On a CPU as patches times a matrix, whose slopes take four fifths
    of the time there."""
    ends = ((1, 1 if whole or side == 1 else 1 - side % 2) for side in x.shape[1:3])
    padded = jnp.pad(x, ((0, 0), *ends, (0, 0)))
    form = "product" if jax.default_backend() == "cpu" else None
    return convolution(padded, layer.kernel[...], layer.bias[...], form=form)


def _pool(x: jax.Array) -> jax.Array:
    """2 x 2 max pooling of axes with more than one cell; a last odd row or column is left out (15 -> 7). As the maximum of
    an array: the slope of a window reduction takes as long as the convolutions together."""
    _, rows, columns, _ = x.shape
    tall, wide = (2 if side > 1 else 1 for side in (rows, columns))
    whole = x[:, : rows // tall * tall, : columns // wide * wide]
    return whole.reshape(x.shape[0], rows // tall, tall, columns // wide, wide, x.shape[3]).max((2, 4))
