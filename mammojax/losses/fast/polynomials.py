"""The surrogates that are polynomials by pieces: exact, by one sort or by none.

*square* needs no order: its sum over pairs is made of the means and the variances of the two classes.

Powers of the hinge: a pair costs something only if the negative lies above the positive less c = margin +
temperature. After a sort, what lies below a sample is what comes before it, and the sums over it of (distance)^k,
k = 0 ... power, go from one place to the next by the gap between them (Joachims 2005; Rust and Hocking 2023). Only
non-negative terms are added, so nothing cancels, in clusters any distance apart.

Keys and sums are float64: p - c has to be exact, or offsets of 10,000 would cost four digits.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.losses import ring
from mammojax.losses.running import running_powers
from mammojax.losses.surrogates import Square, Surrogate


def value_and_gradient(
    scores: jax.Array, weights: jax.Array, surrogate: Surrogate, axis_name: str | None = None
) -> tuple[jax.Array, jax.Array]:
    """The sum over pairs of `pair_sum.py` and its gradient by `scores`, float[n]."""
    if axis_name is not None:
        return ring.value_and_gradient(
            lambda s, w: value_and_gradient(s, w, surrogate), scores, weights, axis_name
        )
    with jax.enable_x64(True):
        s, w = _wide(scores, weights)
        total, gradient = (_square if isinstance(surrogate.fast, Square) else _hinge)(s, w, surrogate)
        return tuple(lax.convert_element_type(x, scores.dtype) for x in (total, gradient))


def curvature_product(
    scores: jax.Array,
    weights: jax.Array,
    tangent: jax.Array,
    surrogate: Surrogate,
    axis_name: str | None = None,
) -> jax.Array:
    """float[n]: the Hessian of the sum over pairs times `tangent`; zero for the hinge."""
    if axis_name is not None:
        return ring.curvature_product(
            lambda *local: curvature_product(*local, surrogate), scores, weights, tangent, axis_name
        )
    of_square = isinstance(surrogate.fast, Square)
    power = 2 if of_square else surrogate.fast.power
    if power == 1:
        return 0 * weights
    with jax.enable_x64(True):
        s, w = _wide(scores, weights)
        t = lax.convert_element_type(tangent, np.float64)
        if of_square:
            plain, charged = (
                jnp.where(w > 0, jnp.sum(jnp.where(w < 0, -x, 0)), jnp.sum(jnp.where(w > 0, x, 0)))
                for x in (w, w * t)
            )
        else:
            order, keys, sorted_weights = _order(s, w, surrogate)
            plain, charged = (
                _put_back(order, _partners(keys, sorted_weights, x, power - 2))
                for x in (sorted_weights, (w * t)[order])
            )
        scale = power * (power - 1) * surrogate.temperature**-power
        return lax.convert_element_type(scale * jnp.abs(w) * (t * plain - charged), scores.dtype)


def _wide(scores, weights):
    """In float64; what has no weight lies at zero, whatever it holds."""
    s, w = (lax.convert_element_type(x, np.float64) for x in (scores, weights))
    return jnp.where(w != 0, s, 0), w


def _square(s, w, surrogate):
    positive, negative = jnp.maximum(w, 0), jnp.maximum(-w, 0)
    total_p, total_n = jnp.sum(positive), jnp.sum(negative)
    mean_p = jnp.sum(positive * s) / jnp.where(total_p > 0, total_p, 1)
    mean_n = jnp.sum(negative * s) / jnp.where(total_n > 0, total_n, 1)
    reach = surrogate.margin + surrogate.temperature
    between = total_p * total_n * jnp.square(mean_n - mean_p + reach)
    within_n, within_p = (
        jnp.sum(negative * jnp.square(s - mean_n)),
        jnp.sum(positive * jnp.square(s - mean_p)),
    )
    scale = surrogate.temperature**-2
    slope = jnp.where(w > 0, -total_n * (mean_n - s + reach), total_p * (s - mean_p + reach))
    return scale * (between + total_p * within_n + total_n * within_p), 2 * scale * jnp.abs(w) * slope


def _hinge(s, w, surrogate):
    order, keys, sorted_weights = _order(s, w, surrogate)
    power = surrogate.fast.power
    below, above = _reached(keys, sorted_weights, sorted_weights, power)
    scale = surrogate.temperature**-power
    total = scale * jnp.sum(jnp.maximum(-sorted_weights, 0) * below[power])
    slope = jnp.where(sorted_weights > 0, -above[power - 1], below[power - 1])
    return total, _put_back(order, scale * power * jnp.abs(sorted_weights) * slope)


def _order(s, w, surrogate):
    """(order, keys, weights), sorted so that a negative and the positives before it are the pairs that cost something.

    Of equal keys negatives come first: at the kink the hinge's slope is zero.
    """
    keys = s - jnp.where(w > 0, surrogate.margin + surrogate.temperature, 0)
    bits = lax.bitcast_convert_type(keys, np.int64)
    # whole numbers sort twice as fast as floats: ordered alike, the class in place of the last bit
    ordered = jnp.where(bits < 0, np.int64(np.iinfo(np.int64).min) - bits, bits)
    ordered = (ordered & np.int64(-2)) | (w > 0).astype(np.int64)
    index = np.arange(s.shape[0], dtype=np.int32)
    order = lax.sort((ordered, index), num_keys=1, is_stable=False)[1]
    return order, keys[order], w[order]


def _put_back(order, x):
    return jnp.zeros_like(x).at[order].set(x, unique_indices=True)


def _reached(keys, sorted_weights, charges, power):
    """Sums of charge * distance^k over the positives at and below each key, and over the negatives at and above it.

    charges: signed by class, as weights are; they come back with the sign of a positive's. Two lists over k = 0 ... power.
    """
    gaps = jnp.maximum(jnp.diff(keys, prepend=keys[:1]), 0)  # keys that differ in the last bit have no order
    turned = jnp.concatenate([jnp.zeros_like(gaps[:1]), gaps[:0:-1]])
    below = jnp.where(sorted_weights > 0, charges, 0)
    above = jnp.where(sorted_weights < 0, -charges, 0)[::-1]
    sums = running_powers(jnp.stack([below, above]), jnp.stack([gaps, turned]), power)
    return [x[0] for x in sums], [x[1, ::-1] for x in sums]


def _partners(keys, sorted_weights, charges, power):
    """The sums of charge * distance^power over the partners of each sample: positives before a negative, and so on."""
    below, above = _reached(keys, sorted_weights, charges, power)
    return jnp.where(sorted_weights > 0, above[power], below[power])
