"""Convolutions, pools and normalisation in the forms that are fast; NHWC, kernels HWIO.

Where two forms of a layer exist the choice is named and made by the device that the program is traced for. The forms
were measured on two CPU cores: a grouped convolution takes 5 to 40 times as long there as k x k shifted products, and
fc6 as a convolution 3.5 times as long as patches times a matrix; maxima as a window reduction take 3 to 4 times as long
as maxima of shifted maps; and where a map is far larger than the caches, reading it in strips of rows takes half the
time. On accelerators the plain forms are kept, but for what TPUs take long to compile (`convolution`).

The input's type is the type of the products: kernels are rounded to it, sums are kept in float32, and every layer
with a bias gives float32. Products of float32 are float32 on every platform: TPUs would take bfloat16 and NVIDIA's GPUs
TF32 for them if not asked.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

_NHWC = ("NHWC", "HWIO", "NHWC")
EXACT = lax.Precision.HIGHEST  # of products of float32; those of bfloat16 are exact in float32 anyhow


def in_turn(
    steps: Sequence[tuple[str, Callable]],
    x: jax.Array,
    placed: Callable[[jax.Array], jax.Array] | None = None,
) -> jax.Array:
    """x through the functions of `steps`. On the way back only the maps between them are kept; what lies within one is
    computed again. placed: applied to every map between, to say on which devices it lies.
    """
    for _, step in steps:
        x = jax.checkpoint(step)(x)
        x = x if placed is None else placed(x)
    return x


def in_strips(
    function: Callable[[jax.Array, jax.Array | int], jax.Array],
    x: jax.Array,
    *,
    outputs: int,
    stride: int,
    reach: int,
    rows: int = 8,
) -> jax.Array:
    """[b, outputs, w', c]: function(x, 0), computed a strip of rows at a time so that maps within it stay small.

    function(strip, first row) gives of rows first ... of x the output rows from first / stride on. Output row i needs
    the rows i stride ... i stride + reach - 1 of x; the last may do with fewer. rows: of the output, in a strip.
    """
    whole = min(outputs, (x.shape[1] - reach) // stride + 1) // rows
    if whole < 2:
        return function(x, 0)
    tall = (rows - 1) * stride + reach

    def one(i):
        first = i * rows * stride
        return jax.checkpoint(function)(lax.dynamic_slice_in_dim(x, first, tall, 1), first)

    strips = jnp.moveaxis(lax.map(one, jnp.arange(whole)), 0, 1)
    done = strips.reshape(x.shape[0], whole * rows, *strips.shape[3:])
    if whole * rows == outputs:
        return done
    rest = function(x[:, whole * rows * stride :], whole * rows * stride)
    return jnp.concatenate([done, rest], 1)


def convolution(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: int | str = 0,
    form: str | None = None,
) -> jax.Array:
    """float32[b, h', w', c']: x [b, h, w, c] with kernel [kh, kw, c, c'] and bias [c']; padding in pixels or "SAME".

    form: "window" (one convolution) or "product" (patches times one matrix); equal to rounding. None: products on a TPU
    where patches are small, for kernels of one pixel and for those that read one channel. Its compiler writes a convolution
    out at length: the slope of a 3 x 3 kernel over one channel of 64 x 64 took it 73 CPU seconds, as a product 11 for
    256 x 208; a block of 1 x 1 kernels 55 and 20 (docs/clusters.md).
    """
    if form is None:
        small = kernel.shape[:2] == (1, 1) or kernel.shape[2] == 1
        form = "product" if small and jax.default_backend() == "tpu" else "window"
    if form == "window":
        pad = padding if isinstance(padding, str) else ((padding, padding),) * 2
        return _convolve(x, kernel.astype(x.dtype), stride, pad, 1) + bias
    if isinstance(padding, str):
        around = [same_padding(*sides) for sides in zip(x.shape[1:3], kernel.shape[:2], stride)]
    else:
        around = [(padding, padding)] * 2
    return patches_convolution(jnp.pad(x, ((0, 0), *around, (0, 0))), kernel, bias, stride=stride)


def _convolve(x, kernel, stride, pad, groups):
    form = functools.partial(
        lax.conv_general_dilated,
        window_strides=stride,
        padding=pad,
        dimension_numbers=_NHWC,
        feature_group_count=groups,
    )
    return _product(form, x, kernel)


def _product(form: Callable, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """float32: form(x, kernel), a convolution or a matrix product of operands of one type."""
    if x.dtype == jnp.float32:
        return form(x, kernel, precision=EXACT)
    return _rounded(form, x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _rounded(form, x, kernel):
    """A product of bfloat16 operands with float32 sums, on the way back too; JAX has no derivative of a convolution whose
    types differ, and takes float32 operands in that of a matrix product."""
    return form(x, kernel, preferred_element_type=jnp.float32)


def _rounded_forward(form, x, kernel):
    return _rounded(form, x, kernel), (x, kernel)


def _rounded_backward(form, operands, slope):
    _, pull = jax.vjp(form, *operands)
    return pull(slope.astype(operands[0].dtype))


_rounded.defvjp(_rounded_forward, _rounded_backward)


def same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels before and after an axis of `side` pixels that SAME padding adds."""
    lacking = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return lacking // 2, lacking - lacking // 2


def depthwise(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    *,
    stride: int,
    form: str,
    padding: tuple[tuple[int, int], tuple[int, int]] | None = None,
) -> jax.Array:
    """float32[b, h', w', c]: every channel with its own kernel [k, k, 1, c]. padding: of rows and columns, None: SAME.

    form: "shifts" (k x k shifted products summed up) or "grouped" (one grouped convolution); equal to rounding.
    """
    kernel, k = kernel.astype(x.dtype), kernel.shape[0]
    padding = padding or tuple(same_padding(side, k, stride) for side in x.shape[1:3])
    if form == "grouped":
        return _grouped(x, kernel, stride, padding) + bias
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    rows, columns = ((side - k) // stride + 1 for side in x.shape[1:3])
    total = jnp.broadcast_to(bias, (x.shape[0], rows, columns, x.shape[-1])).astype(jnp.float32)
    kernel = kernel.astype(jnp.float32)
    for i in range(k):
        for j in range(k):
            total += _every(x, (i, j), (rows, columns), (stride, stride)) * kernel[i, j, 0]
    return total


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _grouped(x, kernel, stride, padding):
    """One convolution with a group for every channel. The slope of its kernel is k x k sums of products: as the convolution
    that JAX makes of it, with the map for a window, TPUs took half a gigabyte for 512 x 512 x 32 and long to compile."""
    return _convolve(x, kernel, (stride, stride), padding, x.shape[-1])


def _grouped_forward(x, kernel, stride, padding):
    return _grouped(x, kernel, stride, padding), (x, kernel)


def _grouped_backward(stride, padding, operands, slope):
    x, kernel = operands
    _, pull = jax.vjp(lambda x: _convolve(x, kernel, (stride, stride), padding, x.shape[-1]), x)
    padded, rounded = jnp.pad(x, ((0, 0), *padding, (0, 0))), slope.astype(x.dtype).astype(jnp.float32)
    sides = range(kernel.shape[0])
    slopes = [
        (rounded * _every(padded, (i, j), slope.shape[1:3], (stride, stride))).sum((0, 1, 2))
        for i in sides
        for j in sides
    ]
    return *pull(slope), jnp.stack(slopes).reshape(kernel.shape).astype(kernel.dtype)


_grouped.defvjp(_grouped_forward, _grouped_backward)


def _every(x, start, count, stride):
    """x[:, start::stride, start::stride] with so many rows and columns; each of the three for rows and for columns."""
    end = [a + (n - 1) * s + 1 for a, n, s in zip(start, count, stride)]
    return lax.slice(x, (0, *start, 0), (x.shape[0], *end, x.shape[3]), (1, *stride, 1))


def patches_convolution(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, *, stride: tuple[int, int] = (1, 1)
) -> jax.Array:
    """A VALID convolution as patches times one matrix: for large kernels over small maps (fc6)."""
    kh, kw, _, channels = kernel.shape
    count = [(side - k) // s + 1 for side, k, s in zip(x.shape[1:3], (kh, kw), stride)]
    shifted = [_every(x, (i, j), count, stride) for i in range(kh) for j in range(kw)]
    patches = jnp.concatenate(shifted, -1)
    matrix = kernel.astype(x.dtype).reshape(-1, channels)
    return _product(jnp.matmul, patches, matrix) + bias


def max_pool(x: jax.Array, *, form: str, ceil: bool = True, size: int = 3, stride: int = 2) -> jax.Array:
    """[b, h', w', c]: max pooling; ceil: the last window may hang over the edge (MatConvNet's and Caffe's rule).

    form: "shifts" (maxima of shifted maps, along columns and then rows) or "windows" (a window reduction); equal.
    """
    if ceil:
        hang = [(-(-(side - size) // stride)) * stride + size - side for side in x.shape[1:3]]
        x = jnp.pad(x, ((0, 0), (0, hang[0]), (0, hang[1]), (0, 0)), constant_values=-jnp.inf)
    if form == "windows":
        return window_maxima(x, size=(size, size), step=(stride, stride))
    for axis in (2, 1):  # of columns, then of rows: 2 size - 2 maxima in place of size^2 - 1
        count = (x.shape[axis] - size) // stride + 1
        last = (count - 1) * stride + 1
        shifted = [lax.slice_in_dim(x, i, i + last, stride, axis) for i in range(size)]
        x = functools.reduce(jnp.maximum, shifted)
    return x


def local_response_normalisation(x: jax.Array) -> jax.Array:
    """x (2 + 1e-4 S)^-0.75 with S the sum of squares over five channels (CNN-M: k 2, alpha 5e-4 / 5, beta 0.75).

    The power is two reciprocal roots and the window five shifted sums: a window reduction and a general power take
    several times as long. In float32 whatever the type of x, and rounded to it at the end.
    """
    channels, kept = x.shape[-1], x.dtype
    x = x.astype(jnp.float32)
    squares = jnp.pad(x * x, ((0, 0), (0, 0), (0, 0), (2, 2)))
    root = lax.rsqrt(2 + 1e-4 * sum(squares[..., i : i + channels] for i in range(5)))
    return (x * root * jnp.sqrt(root)).astype(kept)


def window_maxima(x: jax.Array, *, size: tuple[int, int], step: tuple[int, int]) -> jax.Array:
    """[b, h', w', c]: the largest value of each channel over overlapping windows of a map, no padding."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, *size, 1), (1, *step, 1), "VALID")
