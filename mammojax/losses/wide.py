"""Numbers of more than float32's 24 bits, for sums and differences that need them, in one notation for every platform.

`widen` makes float64 of an array where the hardware has it, and else a `Double`: the sum of two float32, with the operators
of an array. What is written with operators and with the functions here is right for both. Inside `context()`, since JAX
has float64 only there.

The rounding error of a sum is a float32, and is had exactly by six additions (Knuth, The Art of Computer Programming 2,
4.2.2); that of a product by four products of halves of 12 bits, each exact (Dekker 1971). The halves are cut by their bits, so
that all products here that must be exact are exact by themselves: a compiler that contracts a product and a sum into one
operation changes nothing.
"""

import contextlib
import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.losses import platforms

_HALF = np.int32(-1 << 12)  # of the 24 bits of a float32's significand, the upper 12


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Double:
    """high + low, float32 of one shape each; low is at most half a unit in the last place of high: 48 bits together.

    Other operands: a `Double`, a float32 array, or a Python number. The range is that of float32.
    """

    high: jax.Array
    low: jax.Array

    __array_ufunc__ = None  # numpy leaves its operators to this class

    def __add__(self, other):
        other = _double(other)
        high, rest = two_sum(self.high, other.high)
        low, last = two_sum(self.low, other.low)
        high, rest = _quick_two_sum(high, rest + low)
        return Double(*_quick_two_sum(high, rest + last))

    def __neg__(self):
        return Double(-self.high, -self.low)

    def __sub__(self, other):
        return self + -_double(other)

    def __rsub__(self, other):
        return -self + other

    def __mul__(self, other):
        other = _double(other)
        high, low = _product(self.high, other.high)
        return Double(*_quick_two_sum(high, low + (self.high * other.low + self.low * other.high)))

    def __truediv__(self, other):
        other = _double(other)
        first = self.high / other.high
        rest = self - other * first
        return Double(*_quick_two_sum(first, rest.high / other.high))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.high.shape

    __radd__ = __add__
    __rmul__ = __mul__

    def __getitem__(self, at):
        return Double(self.high[at], self.low[at])


Wide = jax.Array | Double


def two_sum(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(x + y rounded, its rounding error)."""
    total = x + y
    back = total - x
    return total, (x - (total - back)) + (y - back)


def context() -> contextlib.AbstractContextManager:
    """Where wide numbers are used: inside of it JAX has float64, if the platform has."""
    return jax.enable_x64(True) if platforms.here().float64 else contextlib.nullcontext()


def widen(x: jax.Array) -> Wide:
    """float32 or float64 [...] as a wide number. float64 stays what it is on any platform."""
    if x.dtype == np.float64 or platforms.here().float64:
        return lax.convert_element_type(x, np.float64)
    return Double(x, jnp.zeros_like(x))


def constant(value: float, like: Wide) -> Wide:
    """The number as a scalar of the kind of `like`."""
    return _double(value) if isinstance(like, Double) else np.float64(value)


def narrow(x: Wide, dtype: np.dtype) -> jax.Array:
    """Rounded to float32 or float64."""
    return x.high if isinstance(x, Double) else lax.convert_element_type(x, dtype)


def choose(condition: jax.Array, x: Wide, y: Wide | float = 0.0) -> Wide:
    """`jnp.where`, of a Python number too."""
    if isinstance(y, float):
        y = constant(y, x)
    return jax.tree.map(functools.partial(jnp.where, condition), x, y)


def total(x: Wide, axis: int = 0) -> Wide:
    """The sum along an axis."""
    if not isinstance(x, Double):
        return jnp.sum(x, axis)
    x = jax.tree.map(lambda part: jnp.moveaxis(part, axis, 0), x)
    size = x.high.shape[0]
    lanes = max(1, math.isqrt(size))

    def in_lanes(part):
        padding = [(0, -size % lanes)] + [(0, 0)] * (part.ndim - 1)
        return jnp.pad(part, padding).reshape(-1, lanes, *part.shape[1:])

    def add(x):
        nothing = jax.tree.map(lambda part: 0 * part[0], x)  # of data: it differs by device as sums do
        return lax.scan(lambda sums, row: (sums + row, None), nothing, x)[0]

    return add(add(jax.tree.map(in_lanes, x)))


def _double(x):
    if isinstance(x, Double):
        return x
    if isinstance(x, (int, float)):
        high = np.float32(x)
        return Double(high, np.float32(x - float(high)))
    return Double(x, jnp.zeros_like(x))


def _quick_two_sum(x, y):
    """`two_sum` for |x| >= |y|, or x = 0."""
    total = x + y
    return total, y - (total - x)


def _product(x, y):
    """(x y rounded, its rounding error), for products in the range of normal numbers."""
    (x1, x2), (y1, y2) = _halves(x), _halves(y)
    middle, rest = two_sum(x1 * y2, x2 * y1)
    high, low = two_sum(x1 * y1, middle)
    return _quick_two_sum(high, low + (rest + x2 * y2))


def _halves(x):
    """(upper, lower) 12 bits of the significand; their sum is x."""
    bits = lax.bitcast_convert_type(jnp.asarray(x, np.float32), np.int32)
    upper = lax.bitcast_convert_type(bits & _HALF, np.float32)
    return upper, x - upper
