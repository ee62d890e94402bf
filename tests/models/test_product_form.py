"""Convolutions that are patches times one matrix, as TPUs have them, beside those that are one convolution."""

import functools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mammojax.models.backbones.efficientnet_lite import LITE0
from mammojax.models.layers import convolution
from mammojax.models.weights.random import random_layers

CASES = {  # what a TPU takes for products: kernel, input channels, stride, padding
    "expand": ((1, 1), 6, (1, 1), "SAME"),
    "stem": ((3, 3), 1, (2, 2), "SAME"),
    "a first layer with the strides of a plan": ((3, 4), 1, (2, 3), 2),
}


@pytest.mark.parametrize(
    ("case", "dtype", "near"), [*((case, "float32", 1e-5) for case in CASES), ("expand", "bfloat16", 1e-2)]
)
def test_both_forms_and_their_slopes_are_the_convolution_of_float64(case, dtype, near):
    """near: float32 sums of up to 100 products in another order; bfloat16 operands have eight bits, here on both sides."""
    size, channels, stride, padding = CASES[case]
    rng = np.random.default_rng(0)
    x, kernel, bias = (rng.normal(size=s) for s in ((2, 13, 12, channels), (*size, channels, 5), (5,)))

    def plain(x, kernel, bias):
        around = padding if isinstance(padding, str) else [(padding, padding)] * 2
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, stride, around, dimension_numbers=numbers) + bias

    def read(form, x, kernel, bias):
        return convolution(x.astype(dtype), kernel, bias, stride=stride, padding=padding, form=form)

    toward = rng.normal(size=jax.eval_shape(plain, x, kernel, bias).shape)

    def with_slopes(function, *of):
        given = toward.astype(of[0].dtype)
        value, pull = jax.jit(lambda *a: jax.vjp(function, *a))(*of)
        return map(np.asarray, (value, *pull(given)))

    with jax.enable_x64(True):
        expected = list(with_slopes(plain, x, kernel, bias))
    for form in ("window", "product"):
        found = with_slopes(functools.partial(read, form), *map(jnp.float32, (x, kernel, bias)))
        for a, b in zip(found, expected, strict=True):
            assert a.shape == b.shape and np.abs(a - b).max() < near * np.abs(b).max()


@pytest.mark.parametrize(("backend", "windows"), [("tpu", set()), ("gpu", {1})])
def test_on_a_tpu_only_depthwise_kernels_are_left_to_convolutions(backend, windows, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    variables = random_layers(LITE0.grey_shapes(), 0)

    def loss(variables, pixels):
        return LITE0.apply(variables, pixels, "stride8").sum()

    text = str(jax.make_jaxpr(jax.grad(loss))(variables, jnp.zeros((1, 32, 32, 1))))
    groups = Counter(part.split()[0] for part in text.split("feature_group_count=")[1:])
    assert {int(number) for number in groups if int(number) < 32} == windows
    assert any(int(number) >= 32 for number in groups)
