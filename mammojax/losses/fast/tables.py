"""The constants of the cell sums, in float64: polynomials for pairs of cells, and how cells are laid out.

x = (n - p + m) / t is what a pair sees (`surrogates.py`). All lengths here are in units of x.
"""

import dataclasses
import functools
import math

import numpy as np

from mammojax.losses.surrogates import Surrogate

REACH = 88.0  # exp(-88) is the smallest normal float32: farther below, a pair adds nothing


@dataclasses.dataclass(frozen=True)
class Layout:
    """Sizes of the cells for one dtype and temperature.

    width: of a cell. order: polynomials of degree below it. unit: cells that are summed together: with those of a unit
    and of its two neighbours by polynomials of the pair of cells, with all beyond by the tails of the surrogate. fine: the
    part of a cell that has moments of its own, in units of a score, a power of two, so that placing a score is exact.
    per_cell: fine parts in a cell. fine_order: moments of a fine part. block: cells in a block of the compressed axis, some
    whole units.
    """

    width: float
    order: int
    unit: int
    fine: float
    per_cell: int
    fine_order: int
    block: int

    @property
    def length(self) -> float:
        """Of a unit."""
        return self.unit * self.width


def layout(dtype: np.dtype, temperature: float, *, per_cell: int, fine_order: int | None) -> Layout:
    """Cells about half a unit wide, for the accuracy of `dtype`.

    float32: the polynomial of degree 5 over the offset of a pair, at most 0.5 either way, is off by 0.5^6 / (6! 2^5) =
    7e-7 of its value at worst; sigma is exp(x) beyond 16 to exp(-16) = 1e-7. float64: degree 13 and 37 units.
    fine_order: None for that of the cell.
    """
    if dtype == np.float64:
        order, near, per_cell, fine_order = 14, 37.0, 1, 14
    else:
        order, near, fine_order = 6, 16.0, fine_order or 6
    fine = 2.0 ** math.floor(math.log2(0.5 * temperature / per_cell))
    width = fine * per_cell / temperature
    # what has a whole unit in between is farther apart than `near`
    unit = 16 * math.ceil(near / width / 16)
    return Layout(width, order, unit, fine, per_cell, fine_order, block=unit * math.ceil(64 / unit))


def softplus_derivative(order: int, x: np.ndarray) -> np.ndarray:
    """The derivative of log(1 + exp(x)) of that order, 0 to 3, relatively accurate in both tails."""
    e = np.exp(-np.abs(x))
    if order == 0:
        return np.maximum(x, 0) + np.log1p(e)
    if order == 1:
        return np.where(x < 0, e, 1) / (1 + e)
    if order == 2:
        return e / (1 + e) ** 2
    return -np.sign(x) * e * (1 - e) / (1 + e) ** 3


def economised(function, centres: np.ndarray, radius: float, order: int) -> np.ndarray:
    """c[..., m] with function(centre + x) = sum_m c_m x^m / m!, |x| <= radius, by interpolation at Chebyshev nodes.

    The error is 2^(order - 1) times smaller than that of the Taylor series of that many terms.
    """
    angles = np.pi * (np.arange(order) + 0.5) / order
    values = function(np.asarray(centres, np.float64)[..., None] + radius * np.cos(angles))
    chebyshev = values @ np.cos(np.outer(angles, np.arange(order))) * (2 / order)
    chebyshev[..., 0] /= 2
    powers = np.zeros((order, order))
    for m in range(order):
        powers[m, : m + 1] = np.polynomial.chebyshev.cheb2poly(np.eye(order)[m])[: m + 1]
    scale = [math.factorial(m) / radius**m for m in range(order)]
    return chebyshev @ powers * scale


@functools.lru_cache(maxsize=64)
def interaction(order: int, residual: float, cells: Layout) -> tuple[np.ndarray, np.ndarray]:
    """The field of all sources in the cells r of a unit, as one product of matrices: (slopes, values).

    For f = the derivative of softplus of that order, 0 to 2. Rows: the moments M_k of the cells t of the unit below, the
    unit itself and the one above, [(t, k)], and then the four sums of `FAR` over what lies beyond.

    slopes[:, (r, l)]: the coefficients S_l of f'(x) around r; for near cells (-1)^l c_{k+l}(h (t - r)), k + l < order.
    values[:, r]: the coefficient of order 0 of f(x) around r; of the orders 0 and 1 alone.

    residual: the part of the margin that is less than a fine part of a cell.
    """
    q, unit = cells.order, cells.unit
    near, own = np.arange(-unit, 2 * unit), np.arange(unit)
    distance = near[:, None] - own
    centres = np.arange(distance.min(), distance.max() + 1) * cells.width + residual
    c = economised(functools.partial(softplus_derivative, order + 1), centres, cells.width, q)
    of_pair = distance - distance.min()
    slopes = np.zeros((len(near), q, unit, q))
    for l in range(q):
        slopes[:, : q - l, :, l] = (-1) ** l * np.moveaxis(c[of_pair, l:], 2, 1)
    values = np.zeros((len(near), q, unit))
    if order < 2:
        value = np.concatenate([softplus_derivative(order, centres)[:, None], c[:, : q - 1]], axis=1)
        values = np.moveaxis(value[of_pair], 2, 1)
    far_slopes, far_values = _far_interaction(order, residual, cells)
    return (
        np.concatenate([slopes.reshape(len(near) * q, -1), far_slopes.reshape(4, -1)]),
        np.concatenate([values.reshape(len(near) * q, -1), far_values]),
    )


# sums over the sources in the units beyond the neighbours: of charge * exp(x) over those below, x from the end of the
# nearest of their units; then over those above of charge * exp(-x), of charge, of charge * x, from the nearest one's start
FAR = ("below", "above", "count", "distance")


def _far_interaction(order, residual, cells):
    """The last four rows: [4, r, l], [4, r]. softplus is exp(x) far below and x far above, and so are its derivatives."""
    e, unit = exponential(cells), cells.unit
    own = np.arange(unit)
    down = np.exp(residual - (own + unit) * cells.width)
    up = (
        2 * unit - own
    ) * cells.width + residual  # from the cell to where the first unit beyond the next begins
    slopes, values = np.zeros((4, unit, cells.order)), np.zeros((4, unit))
    slopes[0] = down[:, None] * e * (-1.0) ** np.arange(cells.order)
    values[0] = down
    if order == 0:  # softplus is x; its slope is 1
        values[2], values[3] = up, 1
        slopes[2, :, 0] = 1
    else:
        values[2] = 1
        slopes[1] = (1 if order == 1 else -1) * np.exp(-up)[:, None] * e
    return slopes, values


@functools.lru_cache(maxsize=64)
def far_sums(cells: Layout) -> np.ndarray:
    """[(t, k), 4]: the part of one unit in the sums of `FAR`, from the moments M_k of its cells t."""
    e, place = exponential(cells), np.arange(cells.unit) * cells.width
    sums = np.zeros((cells.unit, cells.order, 4))
    sums[..., 0] = np.exp(place - cells.length)[:, None] * e
    sums[..., 1] = np.exp(-place)[:, None] * e * (-1.0) ** np.arange(cells.order)
    sums[:, 0, 2] = 1
    sums[:, 0, 3], sums[:, 1, 3] = place, 1
    return sums.reshape(-1, 4)


@functools.lru_cache(maxsize=64)
def fold(cells: Layout) -> np.ndarray:
    """[per_cell * fine_order, order]: moments of the fine parts to moments of their cell; transposed, coefficients back.

    (o + d)^k / k! = sum_i d^i / i! o^(k - i) / (k - i)!, o the place of the fine part in the cell.
    """
    h = cells.width / cells.per_cell
    place = (np.arange(cells.per_cell) - (cells.per_cell - 1) / 2) * h
    matrix = np.zeros((cells.per_cell, cells.fine_order, cells.order))
    for i in range(cells.fine_order):
        for k in range(i, cells.order):
            matrix[:, i, k] = place ** (k - i) / math.factorial(k - i)
    return matrix.reshape(-1, cells.order)


@functools.lru_cache(maxsize=64)
def exponential(cells: Layout) -> np.ndarray:
    """float[order]: e_k with exp(d) = sum_k e_k d^k / k! inside a cell."""
    return economised(np.exp, np.zeros(()), cells.width / 2, cells.order)


def margin_shift(surrogate: Surrogate, cells: Layout) -> tuple[int, float]:
    """The margin as a whole number of fine parts, by which the positives move down, and the rest in units of x."""
    whole = round(surrogate.margin / cells.fine)
    return whole, (surrogate.margin - whole * cells.fine) / surrogate.temperature
