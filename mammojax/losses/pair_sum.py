"""A sum over pairs as a differentiable function, from an implementation of its value, gradient and curvature.

An implementation is a module with two functions,

    value_and_gradient(scores, weights, surrogate, axis_name) -> (float[], float[n])
    curvature_product(scores, weights, tangent, surrogate, axis_name) -> float[n]

the second the Hessian times a vector. One pass gives value and gradient, which automatic differentiation of a
sum would compute in two, and with all pairs stored in between.
"""

import functools
from types import ModuleType

import jax
import jax.numpy as jnp
from jax import lax

from mammojax.losses import platforms
from mammojax.losses.surrogates import Surrogate


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def pair_sum(
    scores: jax.Array,
    weights: jax.Array,
    surrogate: Surrogate,
    implementation: ModuleType,
    axis_name: str | None,
) -> jax.Array:
    """Sum over pairs of a positive i and a negative j of |weights[i] weights[j]| * surrogate(scores[j] - scores[i]).

    scores: float[n], finite. weights: float[n], above zero for positives, below for negatives, zero for samples
    that do not count; constants of the loss, without gradient. axis_name: of `jax.shard_map`, the samples are
    those of all devices along it. Differentiable in `scores`, twice.
    """
    return _value_and_gradient(scores, weights, surrogate, implementation, axis_name)[0]


@pair_sum.defjvp
def _pair_sum_jvp(surrogate, implementation, axis_name, primals, tangents):
    _refuse_unchecked(axis_name)
    value, gradient = _value_and_gradient(*primals, surrogate, implementation, axis_name)
    return value, _along(axis_name, jnp.sum(gradient * tangents[0]))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def _value_and_gradient(scores, weights, surrogate, implementation, axis_name):
    return _compiled_value_and_gradient(
        scores, weights, surrogate, implementation, axis_name, platforms.name()
    )


@_value_and_gradient.defjvp
def _value_and_gradient_jvp(surrogate, implementation, axis_name, primals, tangents):
    value, gradient = _value_and_gradient(*primals, surrogate, implementation, axis_name)
    scores, weights = _twice(primals[0]), primals[1]

    def product(_, tangent):
        return _compiled_product(
            scores, weights, tangent, surrogate, implementation, axis_name, platforms.name()
        )

    # a linear function that is its own transpose, for the Hessian is symmetric; said in the words that JAX has for it
    curved = lax.custom_linear_solve(lambda x: x, tangents[0], product, symmetric=True)
    return (value, gradient), (_along(axis_name, jnp.sum(gradient * tangents[0])), curved)


# jitted here, so that a call outside of jit compiles once and not every time; for each platform, which says how (`platforms`)
@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _compiled_value_and_gradient(scores, weights, surrogate, implementation, axis_name, platform):
    return implementation.value_and_gradient(scores, weights, surrogate, axis_name)


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _compiled_product(scores, weights, tangent, surrogate, implementation, axis_name, platform):
    return implementation.curvature_product(scores, weights, tangent, surrogate, axis_name)


@jax.custom_jvp
def _twice(scores):
    return scores


@_twice.defjvp
def _twice_jvp(primals, tangents):
    raise NotImplementedError(
        "the third derivative of a pairwise loss was asked for, two are written; "
        'use implementation="materialized", which JAX differentiates itself'
    )


def _refuse_unchecked(axis_name):
    """Without the types of `check_vma` JAX takes the loss of all devices for one of each: the gradient is that of their
    sum where it is taken inside, too large by their number, and right where it is taken outside. Which, cannot be seen."""
    if axis_name is None or lax.axis_size(axis_name) == 1:
        return
    kind = jax.typeof(lax.axis_index(axis_name))
    varying = (
        kind.manual_axis_type.varying if hasattr(kind, "manual_axis_type") else kind.vma
    )  # JAX 0.10, 0.9
    if not varying:
        raise ValueError(
            f"the gradient of a loss with axis_name={axis_name!r} was asked for under pmap or shard_map(check_vma=False), "
            "where it would be too large by the number of devices; use jax.shard_map with its default check_vma=True"
        )


def _along(axis_name, x):
    return x if axis_name is None else lax.psum(x, axis_name)
