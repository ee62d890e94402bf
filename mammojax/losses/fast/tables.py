"""The constants of the cell sums, in float64: polynomials for pairs of cells, and how cells are laid out.

x = (n - p + m) / t is what a pair sees (`surrogates.py`). All lengths here are in units of x.
"""

import dataclasses
import functools
import math

import numpy as np

from mammojax.losses.surrogates import Surrogate

REACH = 88.0  # exp(-88) is the smallest normal float32: farther below, a pair adds nothing
GROUP = 16  # cells that one row of the band's matrix product serves; 8 to 64 cost the same within 1.5 on CPU


@dataclasses.dataclass(frozen=True)
class Layout:
    """Sizes of the cells for one dtype and temperature.

    width: of a cell. order: polynomials of degree below it. near: pairs of cells at most that far apart are summed by
    polynomials of the pair, the others by the tails of the surrogate. fine: the part of a cell that has moments of its
    own, in units of a score, a power of two, so that placing a score is exact. per_cell: fine parts in a cell.
    fine_order: moments of a fine part. block: cells in a block of the compressed axis.
    """

    width: float
    order: int
    near: float
    fine: float
    per_cell: int
    fine_order: int
    block: int

    @property
    def near_cells(self) -> int:
        return math.ceil(self.near / self.width)


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
    # no near pair of cells has a whole block between them; a multiple of GROUP
    block = 64 if near / width <= 64 else 160
    return Layout(width, order, near, fine, per_cell, fine_order, block)


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
def band(softplus_order: int, residual: float, cells: Layout) -> tuple[np.ndarray, np.ndarray]:
    """The sums over near cells as one matrix product: (slopes, values).

    For f = the derivative of softplus of order `softplus_order`, a group of GROUP receiving cells r and the moments M_k of
    the source cells t from `side` groups below to `side` groups above, side = ceil(near_cells / GROUP):

    slopes[(t, k), (r, l)]: row by row the coefficients S_l of f'(x) around r,  (-1)^l c_{k+l}(h (t - r)), k + l < order.
    values[(t, k), r]: the coefficient of order 0 of f(x) around r.

    residual: the part of the margin that is less than a fine part of a cell.
    """
    q, w = cells.order, cells.near_cells
    side = -(-w // GROUP)
    distance = np.arange(-w, w + 1)
    centres = distance * cells.width + residual
    c = economised(functools.partial(softplus_derivative, softplus_order + 1), centres, cells.width, q)
    slopes = np.zeros(((2 * side + 1) * GROUP, q, GROUP, q))
    values = np.zeros(((2 * side + 1) * GROUP, q, GROUP))
    value = np.concatenate([softplus_derivative(softplus_order, centres)[:, None], c[:, : q - 1]], axis=1)
    for r in range(GROUP):
        rows = side * GROUP + r + distance
        values[rows, :, r] = value
        for l in range(q):
            slopes[rows, : q - l, r, l] = (-1) ** l * c[:, l:]
    return slopes.reshape(-1, GROUP * q), values.reshape(-1, GROUP)


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
