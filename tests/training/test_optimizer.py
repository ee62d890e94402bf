"""The optimiser: schedules, and a lambda that shrinks what it should."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mammojax.training.optimizer import Optimizer

PARAMS = {"kernel": jnp.full((4, 3), 2.0), "bias": jnp.full(3, 2.0)}


def run(optimizer, gradient, *, steps=20, anchor=None):
    params, state = PARAMS, optimizer.init(PARAMS)
    for step in range(steps):
        rate = optimizer.rate(step, optimizer.steps)
        params, state = optimizer.update(gradient(params), state, params, rate, anchor)
    return params


def nothing(params):
    return jax.tree.map(jnp.zeros_like, params)


def test_decoupled_decay_shrinks_kernels_by_rate_times_lambda_a_step_and_leaves_biases():
    o = Optimizer(learning_rate=0.1, steps=20, schedule="constant", warmup=0.0, regularisation=0.5)
    after = run(o, nothing)
    assert np.allclose(
        after["kernel"], 2.0 * (1 - 0.1 * 0.5) ** 20, rtol=1e-5
    )  # float32 products of twenty steps
    assert np.array_equal(after["bias"], PARAMS["bias"])


def test_decoupled_decay_does_not_depend_on_the_size_of_the_gradient_as_a_penalty_in_adam_does():
    """A large gradient that cancels over two steps: the penalty's share of it vanishes in Adam's normaliser."""

    def noise(scale):
        sign = iter([1, -1] * 10)

        def gradient(params):
            s = next(sign) * scale
            return {"kernel": jnp.full((4, 3), s), "bias": jnp.zeros(3)}

        return gradient

    decoupled = Optimizer(
        learning_rate=0.01, steps=20, schedule="constant", warmup=0.0, clip=0.0, regularisation=1.0
    )
    small, large = (run(decoupled, noise(scale))["kernel"] for scale in (1.0, 1e4))
    assert np.allclose(small, large, atol=1e-4)
    assert float(small.mean()) < 2.0 * 0.99**20 + 0.02


@pytest.mark.parametrize("decay", ["decoupled", "penalty"])
def test_decay_pulls_towards_the_anchor(decay):
    anchor = jax.tree.map(lambda p: p + 1, PARAMS)
    o = Optimizer(
        learning_rate=0.05, steps=200, schedule="constant", warmup=0.0, decay=decay, regularisation=1.0
    )

    def gradient(params):
        return jax.grad(o.penalty)(params, anchor) if decay == "penalty" else nothing(params)

    after = run(o, gradient, steps=200, anchor=anchor)
    assert np.allclose(
        after["kernel"], 3.0, atol=0.02
    )  # what is left of exp(-0.05 * 200), or Adam's last steps
    assert np.array_equal(after["bias"], PARAMS["bias"])


def test_the_penalty_is_half_lambda_times_the_squared_norm_of_kernels():
    assert float(Optimizer(0.1, 1, regularisation=3.0).penalty(PARAMS)) == pytest.approx(0.5 * 3.0 * 12 * 4.0)


@pytest.mark.parametrize("steps", [1, 7, 100])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("name", ["constant", "cosine", "linear", "step"])
def test_schedules_are_those_of_optax_for_every_number_of_steps(name, warmup, steps):
    rising = round(warmup * steps)
    falling = max(steps - rising, 1)
    reference = {
        "constant": optax.constant_schedule(0.3),
        "cosine": optax.cosine_decay_schedule(0.3, falling),
        "linear": optax.linear_schedule(0.3, 0.0, falling),
        "step": optax.piecewise_constant_schedule(0.3, {round(0.7 * falling): 0.3}),
    }[name]
    if rising:
        reference = optax.join_schedules([optax.linear_schedule(0.0, 0.3, rising), reference], [rising])
    optimizer, at = Optimizer(0.3, steps, schedule=name, warmup=warmup), np.arange(steps + 3)
    expected = [float(reference(k)) for k in at]
    # a few roundings of float32, of values up to 0.3
    np.testing.assert_allclose(optimizer.rate(at, steps), expected, atol=1e-7)


def test_optimizers_that_differ_in_steps_alone_share_a_program():
    assert Optimizer(0.1, 5) == Optimizer(0.1, 9) and hash(Optimizer(0.1, 5)) == hash(Optimizer(0.1, 9))
    assert Optimizer(0.1, 5) != Optimizer(0.2, 5)


def test_the_running_mean_is_the_plain_mean_at_first():
    o = Optimizer(0.1, 10, average=0.9)
    average = 0.0
    for step, value in enumerate([1.0, 2.0, 6.0]):
        average = o.averaged(average, value, step)
    assert float(average) == pytest.approx(3.0)
