"""Convolutions, pools and normalisation in the forms that are fast; NHWC, kernels HWIO.

Where two forms of a layer exist the choice is named and made by the device that the program is traced for. The forms
were measured on two CPU cores: a grouped convolution takes 5 to 40 times as long there as k x k shifted products, and
fc6 as a convolution 3.5 times as long as patches times a matrix. On accelerators the plain forms are kept.
"""

import jax
import jax.numpy as jnp
from jax import lax

_NHWC = ("NHWC", "HWIO", "NHWC")


def convolution(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: int | str = 0,
) -> jax.Array:
    """float[b, h', w', c']: x [b, h, w, c] with kernel [kh, kw, c, c'] and bias [c']; padding in pixels or "SAME"."""
    pad = padding if isinstance(padding, str) else [(padding, padding)] * 2
    return lax.conv_general_dilated(x, kernel, stride, pad, dimension_numbers=_NHWC) + bias


def depthwise(x: jax.Array, kernel: jax.Array, bias: jax.Array, *, stride: int, form: str) -> jax.Array:
    """float[b, h', w', c]: every channel with its own kernel [k, k, 1, c], SAME padding.

    form: "shifts" (k x k shifted products summed up) or "grouped" (one grouped convolution); equal to rounding.
    """
    if form == "grouped":
        grouped = lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=_NHWC, feature_group_count=x.shape[-1]
        )
        return grouped + bias
    k = kernel.shape[0]
    rows, columns = (-(-side // stride) for side in x.shape[1:3])
    lacking = [max((n - 1) * stride + k - side, 0) for n, side in zip((rows, columns), x.shape[1:3])]
    x = jnp.pad(x, ((0, 0), *((n // 2, n - n // 2) for n in lacking), (0, 0)))
    total = jnp.broadcast_to(bias, (x.shape[0], rows, columns, x.shape[-1])).astype(x.dtype)
    for i in range(k):
        for j in range(k):
            end = (x.shape[0], i + (rows - 1) * stride + 1, j + (columns - 1) * stride + 1, x.shape[-1])
            total += lax.slice(x, (0, i, j, 0), end, (1, stride, stride, 1)) * kernel[i, j, 0]
    return total


def patches_convolution(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """A VALID convolution of stride 1 as patches times one matrix: for large kernels over small maps (fc6)."""
    kh, kw, _, channels = kernel.shape
    rows, columns = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    shifted = [x[:, i : i + rows, j : j + columns] for i in range(kh) for j in range(kw)]
    patches = jnp.concatenate(shifted, -1)
    return patches @ kernel.reshape(-1, channels) + bias


def max_pool_ceil(x: jax.Array, *, size: int = 3, stride: int = 2) -> jax.Array:
    """Max pooling whose last window may hang over the edge (MatConvNet's and Caffe's rule)."""
    hang = [(-(-(side - size) // stride)) * stride + size - side for side in x.shape[1:3]]
    pads = ((0, 0), (0, hang[0]), (0, hang[1]), (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, size, size, 1), (1, stride, stride, 1), pads)


def local_response_normalisation(x: jax.Array) -> jax.Array:
    """x (2 + 1e-4 S)^-0.75 with S the sum of squares over five channels (CNN-M: k 2, alpha 5e-4 / 5, beta 0.75).

    The power is two reciprocal roots and the window five shifted sums: a window reduction and a general power take
    several times as long.
    """
    channels = x.shape[-1]
    squares = jnp.pad(x * x, ((0, 0), (0, 0), (0, 0), (2, 2)))
    root = lax.rsqrt(2 + 1e-4 * sum(squares[..., i : i + channels] for i in range(5)))
    return x * root * jnp.sqrt(root)


def window_maxima(x: jax.Array, *, size: tuple[int, int], step: tuple[int, int]) -> jax.Array:
    """float[b, h', w', c]: the largest value of each channel over overlapping windows of a map, no padding."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, *size, 1), (1, *step, 1), "VALID")
