"""One pair of scores: the value and the derivatives of each surrogate of the AUC's step function.

A pair is a positive score p and a negative score n; d = n - p is how far it stands on the wrong side. With
margin m and temperature t the pair sees x = (d + m) / t, and costs

    logistic        log(1 + exp(x))          eq. (4) of Sulam et al. 2017
    sigmoid         1 / (1 + exp(-x))        Yan et al. 2003; Herschtal and Raskutti 2004
    hinge           max(0, 1 + x)            Joachims 2005
    squared_hinge   max(0, 1 + x)^2          Rust and Hocking 2023
    square          (1 + x)^2                Gao et al. 2013

Small values and small slopes are computed as such, never as one minus something near one.

`SURROGATES` says everything of each: a new one is one line of it.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mammojax.losses.inputs import constant

Pointwise = Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Cells:
    """The fast form of a derivative of softplus, by moments in cells (`fast/cells.py`). order: 0 or 1."""

    order: int


@dataclasses.dataclass(frozen=True)
class Hinges:
    """The fast form of max(0, 1 + x)^power, by one sort (`fast/polynomials.py`). power: 1, 2, 3, ..."""

    power: int


@dataclasses.dataclass(frozen=True)
class Square:
    """The fast form of (1 + x)^2, by the means and variances of the classes (`fast/polynomials.py`)."""


class Crossover(NamedTuple):
    """Scores from which `fast` takes less time than `tiled`, 10% of them positive, by `platforms.name()`.

    On CPUs as measured (python -m launch.benchmark_loss --part=crossover). Of GPUs and TPUs there was none to measure on:
    an estimate from what compiled programs run, see docs/losses.md.
    """

    cpu: int
    gpu: int
    tpu: int


class Definition(NamedTuple):
    """A surrogate l(x), as a line of `SURROGATES`.

    value, slope, curvature: l and its two derivatives, elementwise on arrays of any shape; slope is zero at a kink.
    fast: the form in which all pairs are summed in less than O(P N), or None: `tiled` alone. crossover: from where
    on `auto` takes it, on all platforms or on each.
    slopes_cancel: slopes of both signs occur, so that their sum can be far below its terms; value and slope are written in
    operators then, since they take wide numbers (`wide.py`).
    """

    value: Pointwise
    slope: Pointwise
    curvature: Pointwise
    fast: Cells | Hinges | Square | None = None
    crossover: int | Crossover = 0
    slopes_cancel: bool = False


class Surrogate(NamedTuple):
    """A surrogate with its margin and temperature: `value`, `slope` and `curvature` are functions of d = n - p.

    `value` and `slope` carry the derivatives that are written here, so differentiating them is accurate
    everywhere. fast, slopes_cancel: of its `Definition`.
    """

    name: str
    margin: float
    temperature: float
    value: Pointwise
    slope: Pointwise
    curvature: Pointwise
    fast: Cells | Hinges | Square | None
    slopes_cancel: bool


def sigma(x: jax.Array) -> jax.Array:
    """1 / (1 + exp(-x)), accurate to a few units in the last place in both tails."""
    e = jnp.exp(-jnp.abs(x))
    return jnp.where(x < 0, e, 1) / (1 + e)


def softplus(x: jax.Array) -> jax.Array:
    """log(1 + exp(x)) without overflow."""
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


def _sigma_slope(x: jax.Array) -> jax.Array:
    e = jnp.exp(-jnp.abs(x))
    return e / jnp.square(1 + e)


def _sigma_curvature(x: jax.Array) -> jax.Array:
    e = jnp.exp(-jnp.abs(x))
    return -jnp.sign(x) * e * (1 - e) / (1 + e) ** 3


def _step(x: jax.Array) -> jax.Array:
    return (x > 0).astype(x.dtype)


SURROGATES: dict[str, Definition] = {
    "logistic": Definition(
        softplus, sigma, _sigma_slope, fast=Cells(0), crossover=Crossover(500, 7_000, 8_000)
    ),
    "sigmoid": Definition(
        sigma, _sigma_slope, _sigma_curvature, fast=Cells(1), crossover=Crossover(300, 7_000, 8_000)
    ),
    "hinge": Definition(
        lambda x: jnp.maximum(0, 1 + x),
        lambda x: _step(1 + x),
        jnp.zeros_like,
        fast=Hinges(1),
        crossover=Crossover(10_000, 30_000, 20_000),
    ),
    "squared_hinge": Definition(
        lambda x: jnp.square(jnp.maximum(0, 1 + x)),
        lambda x: 2 * jnp.maximum(0, 1 + x),
        lambda x: 2 * _step(1 + x),
        fast=Hinges(2),
        crossover=Crossover(10_000, 30_000, 20_000),
    ),
    "square": Definition(
        lambda x: (1 + x) * (1 + x),
        lambda x: 2 * (1 + x),
        lambda x: jnp.full_like(x, 2),
        fast=Square(),
        crossover=Crossover(100, 100, 5_000),
        slopes_cancel=True,
    ),
}


def surrogate(name: str, *, margin: float = 0.0, temperature: float = 1.0) -> Surrogate:
    """The surrogate called `name` with its margin and temperature.

    Raises ValueError for an unknown name, a margin that is not finite, or a temperature that is not above
    zero.
    """
    if name not in SURROGATES:
        raise ValueError(f"unknown surrogate {name!r}; choose one of {', '.join(SURROGATES)}")
    # the tables of `fast` are built from these numbers
    margin, temperature = constant("margin", margin), constant("temperature", temperature)
    if not -1e30 < margin < 1e30:
        raise ValueError(f"margin must be finite, got {margin}")
    if not 0 < temperature < 1e30:
        raise ValueError(f"temperature must be positive and finite, got {temperature}")
    return _make(name, SURROGATES[name], margin, temperature)


@functools.lru_cache(maxsize=64)  # equal ones are one object: what was compiled for it is found again
def _make(name: str, definition: Definition, margin: float, temperature: float) -> Surrogate:
    value, slope, curvature = (
        _of_difference(function, order, margin, temperature) for order, function in enumerate(definition[:3])
    )
    slope = _chain(slope, curvature)
    return Surrogate(
        name,
        margin,
        temperature,
        value=_chain(value, slope),
        slope=slope,
        curvature=curvature,
        fast=definition.fast,
        slopes_cancel=definition.slopes_cancel,
    )


def _of_difference(function: Pointwise, order: int, margin: float, temperature: float) -> Pointwise:
    """The `order`-th derivative by d of l((d + m) / t), given `function`, that of l by its own argument."""
    if margin == 0 and temperature == 1:
        return function
    scale = temperature**-order
    return lambda d: scale * function((d + margin) / temperature)


def _chain(function: Pointwise, derivative: Pointwise) -> Pointwise:
    """`function` with `derivative` as its derivative: |x| and max as written are wrong at their kinks."""
    differentiable = jax.custom_jvp(function)
    differentiable.defjvps(lambda tangent, value, d: tangent * derivative(d))
    return differentiable
