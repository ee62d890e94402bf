"""One table says everything of a surrogate: another one is a line of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mammojax.losses import choose_implementation, fast_path, pairwise_auc_loss
from mammojax.losses.surrogates import SURROGATES, Definition, Hinges
from tests.losses.float64 import PAIRS, all_pairs, worst

CUBED_HINGE = Definition(
    lambda x: jnp.maximum(0, 1 + x) ** 3,
    lambda x: 3 * jnp.maximum(0, 1 + x) ** 2,
    lambda x: 6 * jnp.maximum(0, 1 + x),
    fast=Hinges(3),
    crossover=20_000,
)
ARCTAN = Definition(  # without a fast form
    jnp.arctan, lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x) ** 2
)


@pytest.mark.parametrize("name, definition, implementations", [
    ("cubed_hinge", CUBED_HINGE, ("materialized", "tiled", "fast", "auto")),
    ("arctan", ARCTAN, ("materialized", "tiled", "auto")),
])  # fmt: skip
def test_a_surrogate_that_is_added_to_the_table_runs_under_every_implementation(
    monkeypatch, name, definition, implementations
):
    monkeypatch.setitem(SURROGATES, name, definition)
    monkeypatch.setitem(
        PAIRS,
        name,
        {
            "cubed_hinge": (lambda x: np.maximum(1 + x, 0) ** 3, lambda x: 3 * np.maximum(1 + x, 0) ** 2),
            "arctan": (np.arctan, lambda x: 1 / (1 + x * x)),
        }[name],
    )
    rng = np.random.default_rng(0)
    labels = (np.arange(64) % 4 == 0).astype(np.int32)
    scores = (2 * rng.normal(size=64) + labels).astype(np.float32)
    weights = rng.uniform(0.5, 2, 64).astype(np.float32)
    pair = {"surrogate": name, "margin": 0.25, "temperature": 0.5}
    expected, slopes = all_pairs(scores, labels, weights, **pair)
    for implementation in implementations:
        loss, gradient = jax.jit(
            jax.value_and_grad(
                lambda s, i=implementation: pairwise_auc_loss(s, labels, weights=weights, implementation=i, **pair)
            )
        )(scores)  # fmt: skip
        assert float(loss) == pytest.approx(expected, rel=2e-6)  # arctan's terms have both signs
        assert worst(gradient, slopes) < 5e-6


def test_auto_takes_fast_from_the_crossover_of_the_table_on_and_never_where_there_is_no_fast_form(
    monkeypatch,
):
    monkeypatch.setitem(SURROGATES, "cubed_hinge", CUBED_HINGE)
    monkeypatch.setitem(SURROGATES, "arctan", ARCTAN)
    assert [choose_implementation(n, "cubed_hinge")[0] for n in (19_999, 20_000)] == ["tiled", "fast"]
    assert choose_implementation(10**7, "arctan") == ("tiled", "arctan has no fast form")
    with pytest.raises(ValueError, match="'arctan' has no form for implementation=\"fast\"; choose tiled"):
        pairwise_auc_loss(jnp.ones(2), jnp.array([0, 1]), surrogate="arctan", implementation="fast")


@pytest.mark.parametrize("name", SURROGATES)
def test_the_derivatives_of_the_table_are_derivatives(name):
    x = np.linspace(-30, 30, 600)  # no kink among them
    value, slope, curvature = SURROGATES[name][:3]
    with jax.enable_x64(True):
        x = jnp.asarray(x)
        step = 1e-5  # central differences in float64: 1e-10 of the third derivative, and rounding of 1e-11
        for f, derivative in ((value, slope), (slope, curvature)):
            found = (f(x + step) - f(x - step)) / (2 * step)
            assert np.allclose(found, derivative(x), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("margin, temperature", [(1e8, 1.0), (-1e6, 1e-3)])
def test_a_margin_beyond_every_grid_goes_by_tiles(margin, temperature):
    rng = np.random.default_rng(0)
    labels = (np.arange(40) % 3 == 0).astype(np.int32)
    scores, pair = rng.normal(size=40).astype(np.float32), {"margin": margin, "temperature": temperature}
    loss, gradient = jax.value_and_grad(
        lambda s: pairwise_auc_loss(s, labels, implementation="fast", **pair)
    )(scores)
    expected, slopes = all_pairs(scores, labels, **pair)
    assert float(loss) == pytest.approx(expected, rel=2e-6)
    assert np.allclose(gradient, slopes, rtol=2e-6)
    assert int(fast_path(scores, labels, **pair)) == 2
