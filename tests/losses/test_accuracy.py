"""`tiled` and `fast` against every pair in float64: the loss, and each element of the gradient by its own size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mammojax.losses import fast_path, pairwise_auc_loss
from tests.losses.float64 import PAIRS, all_pairs, sigma, softplus, worst
from tests.losses.programs import SIZE, value_and_gradient

# bars of the loss and of the worst gradient element; one ulp of float32 is 1.2e-7, and a sum over pairs adds a few
BARS = {"tiled": (2e-6, 2e-6), "fast": (1e-6, 5e-6)}


def case(name, size=SIZE):
    """(scores, labels, weights or None) in float32"""
    rng = np.random.default_rng(0)
    labels = (rng.random(size) < 0.1).astype(np.int32)
    labels[:2] = 0, 1
    noise = rng.normal(size=size)
    if name in ("one positive", "one negative"):
        labels[:] = name == "one negative"
        labels[7] = 1 - labels[0]
    scores = {
        "ties": np.round((noise + labels) * 2) / 2,
        "all equal": np.full(size, 0.3777),
        "Cauchy": rng.standard_cauchy(size) + labels,
        "offset 10,000": noise + labels + 10_000,
        "range 10,000": rng.random(size) * 1e4,
        "clusters 1e5 apart": noise + 1e5 * (rng.random(size) < 0.5),
        "separated by 30": noise + 30 * labels,
        "separated, loss 1e-24": 0.3 * noise + 55 * labels,
        "separated the wrong way": noise - 40 * labels,
        "wide and weighted": 20 * noise + labels,
        "no grid holds them": noise * 1e9,
    }.get(name, noise + labels)
    weights = 10 ** rng.uniform(-3, 3, size) if "weight" in name else None
    weights = None if weights is None else weights.astype(np.float32)
    return scores.astype(np.float32), labels, weights


CASES = ("overlap", "ties", "all equal", "Cauchy", "offset 10,000", "range 10,000", "clusters 1e5 apart",
         "separated by 30", "separated, loss 1e-24", "separated the wrong way", "one positive", "one negative",
         "weights over six decades", "wide and weighted", "no grid holds them")  # fmt: skip


def check(implementation, scores, labels, weights, *, slopes=None, **pair):
    """slopes: the bar of the gradient's elements where it is not the implementation's."""
    bar = slopes
    loss, gradient = value_and_gradient(implementation, scores, labels, weights, **pair)
    expected, slopes = all_pairs(scores, labels, weights, **pair)
    bars = BARS[implementation]
    assert abs(loss - expected) <= bars[0] * expected
    assert worst(gradient, slopes) <= (bars[1] if bar is None else bar)


@pytest.mark.parametrize("implementation", BARS)
@pytest.mark.parametrize("name", CASES)
def test_the_logistic_loss_holds_its_accuracy_for(name, implementation):
    # tiled goes the factorised way for overlap, the plain one for weights and for tiles wider than 80
    check(implementation, *case(name))


FORMS = [  # one of each way of summing by default, which compile in half a minute; the others when asked for
    ("sigmoid", "fast"), ("squared_hinge", "fast"), ("square", "fast"), ("squared_hinge", "tiled"), ("square", "tiled"),
    *(pytest.param(*form, marks=pytest.mark.slow) for form in
      (("logistic", "fast"), ("hinge", "fast"), ("logistic", "tiled"), ("sigmoid", "tiled"), ("hinge", "tiled"))),
]  # fmt: skip


@pytest.mark.parametrize("surrogate, implementation", FORMS)
def test_every_surrogate_holds_it_with_margin_and_temperature(surrogate, implementation):
    for name in ("ties", "weights over six decades", "clusters 1e5 apart"):
        # slopes of the square are differences of a score to the other class's mean, which cancel near it: there the rounding
        # of (score - mean) / temperature, some 1e-7 of either, is 1e-5 of what is left
        cancels = surrogate == "square"
        check(implementation, *case(name), surrogate=surrogate, margin=0.3, temperature=0.7,
              slopes=2e-5 if cancels else None)  # fmt: skip


@pytest.mark.parametrize("implementation", BARS)
def test_what_is_masked_changes_no_bit_even_if_it_is_nan(implementation):
    scores, labels, _ = case("overlap")
    kept = np.arange(SIZE) % 3 > 0
    dirty = np.where(kept, scores, np.where(np.arange(SIZE) % 2, np.nan, np.inf))
    clean = value_and_gradient(implementation, np.where(kept, scores, 0), labels, where=kept)
    found = value_and_gradient(implementation, dirty, labels, where=kept)
    assert found[0] == clean[0]
    assert (found[1] == clean[1]).all() and (found[1][~kept] == 0).all()
    expected, slopes = all_pairs(scores[kept], labels[kept])
    assert abs(float(found[0]) - expected) <= BARS[implementation][0] * expected
    assert worst(np.asarray(found[1])[kept], slopes) <= BARS[implementation][1]


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.05, 1.0])
def test_ten_million_scores_do_not_drift(spread):
    # drawn from 2,000 different values, so that 10^13 pairs are 4 x 10^6 in the float64 reference
    rng = np.random.default_rng(1)
    values = (rng.normal(size=2000) * spread).astype(np.float32)
    size = 10**7
    which = rng.integers(0, len(values), size)
    labels = (rng.random(size) < 0.1).astype(np.int32)
    f = jax.jit(jax.value_and_grad(functools.partial(pairwise_auc_loss, implementation="fast")))
    loss, gradient = f(values[which], labels)
    p, n = (np.bincount(which[labels == c], minlength=len(values)) for c in (1, 0))
    x = values[None].astype(np.float64) - values[:, None].astype(np.float64)
    pairs = p.sum() * n.sum()
    assert float(loss) == pytest.approx((p[:, None] * softplus(x) * n).sum() / pairs, rel=1e-6)
    expected = np.where(labels == 1, -(sigma(x) @ n)[which], (p @ sigma(x))[which]) / pairs
    assert worst(gradient, expected) <= 5e-6


@pytest.mark.parametrize("name, path", [("overlap", 0), ("Cauchy", 1), ("no grid holds them", 2)])
def test_the_diagnostic_says_which_way_the_scores_went(name, path):
    scores, labels, _ = case(name)
    assert int(fast_path(scores, labels)) == path


@pytest.mark.slow
def test_under_vmap_each_row_takes_its_own_way():
    rows = [case(name)[:2] for name in ("overlap", "Cauchy", "no grid holds them")]
    scores, labels = (np.stack([row[k] for row in rows]) for k in (0, 1))
    one = functools.partial(pairwise_auc_loss, implementation="fast")
    losses, gradients = jax.jit(jax.vmap(jax.value_and_grad(one)))(scores, labels)
    for row in range(3):
        expected, slopes = all_pairs(scores[row], labels[row])
        assert float(losses[row]) == pytest.approx(expected, rel=1e-6)
        assert worst(gradients[row], slopes) <= 5e-6


@pytest.mark.slow
def test_half_precision_is_computed_in_float32_and_its_gradient_comes_back_in_half():
    scores, labels, _ = case("overlap", 1500)
    half = jnp.asarray(scores, jnp.bfloat16)
    for implementation in BARS:
        f = jax.value_and_grad(functools.partial(pairwise_auc_loss, implementation=implementation))
        loss, gradient = f(half, labels)
        wide, slopes = f(half.astype(jnp.float32), labels)
        assert loss.dtype == jnp.float32 and float(loss) == float(wide)
        assert gradient.dtype == jnp.bfloat16 and (gradient == slopes.astype(jnp.bfloat16)).all()


@pytest.mark.slow
@pytest.mark.parametrize("surrogate", PAIRS)
@pytest.mark.parametrize("implementation", ["materialized", "tiled", "fast"])
def test_float64_scores_get_float64_accuracy_and_both_derivatives(surrogate, implementation):
    from jax.test_util import check_grads

    scores, labels, _ = case("overlap", 60)
    labels[:20] = 1
    with jax.enable_x64(True):
        scores = jnp.asarray(scores, jnp.float64)
        pair = {"surrogate": surrogate, "margin": 0.3, "temperature": 0.7}
        f = functools.partial(pairwise_auc_loss, labels=labels, implementation=implementation, **pair)
        loss, gradient = jax.value_and_grad(f)(scores)
        expected, slopes = all_pairs(scores, labels, **pair)
        # polynomials of degree 13 in cells of half a unit, and sums of 800 pairs: some 1e-14
        assert float(loss) == pytest.approx(expected, rel=1e-13)
        assert worst(gradient, slopes) <= 1e-12
        # finite differences of 1e-6 in float64: good to 1e-5
        check_grads(f, (scores,), order=2, modes=("fwd", "rev"), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["overlap", "Cauchy", "no grid holds them"])
def test_the_hessian_of_fast_is_that_of_the_specification(name):
    scores, labels, _ = case(name, 60)
    labels[:20] = 1
    found, expected = (
        jax.hessian(functools.partial(pairwise_auc_loss, labels=labels, implementation=i))(scores)
        for i in ("fast", "materialized")
    )
    # relative to the largest element: differences of float32 sums
    assert np.abs(found - expected).max() <= 3e-6 * np.abs(expected).max()


def test_a_third_derivative_is_refused_and_not_wrong():
    scores, labels, _ = case("overlap", 30)
    f = functools.partial(pairwise_auc_loss, labels=labels, implementation="fast")
    with pytest.raises(NotImplementedError, match="third derivative"):
        jax.eval_shape(jax.jacfwd(jax.hessian(f)), scores)
