"""The surrogates that are polynomials by pieces: exact, by one sort or by none.

*square* needs no order: its sum over pairs is made of the means and the variances of the two classes.

Powers of the hinge: a pair costs something only if the negative lies above the positive less c = margin +
temperature. After a sort, what lies below a sample is what comes before it, and the sums over it of (distance)^k,
k = 0 ... power, go from one place to the next by the gap between them (Joachims 2005; Rust and Hocking 2023). Only
non-negative terms are added, so nothing cancels, in clusters any distance apart.

Keys and sums are wide numbers (`wide.py`): p - c has to be exact, or offsets of 10,000 would cost four digits.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mammojax.losses import ring, wide
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
    with wide.context():
        s, w = _wide(scores, weights)
        found = (_square if isinstance(surrogate.fast, Square) else _hinge)(s, w, weights, surrogate)
        return tuple(wide.narrow(x, scores.dtype) for x in found)


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
    with wide.context():
        s, w = _wide(scores, weights)
        t = wide.widen(tangent)
        if of_square:
            plain, charged = (
                wide.choose(
                    weights > 0,
                    wide.total(wide.choose(weights < 0, -x)),
                    wide.total(wide.choose(weights > 0, x)),
                )
                for x in (w, w * t)
            )
        else:
            order, keys, sorted_weights, sign = _order(s, w, weights, surrogate)
            plain, charged = (
                _put_back(order, _partners(keys, sign, x, power - 2))
                for x in (sorted_weights, (w * t)[order])
            )
        scale = power * (power - 1) * surrogate.temperature**-power
        return wide.narrow(scale * _size(w, weights) * (t * plain - charged), scores.dtype)


def _wide(scores, weights):
    """In wide numbers; what has no weight lies at zero, whatever it holds."""
    return wide.widen(jnp.where(weights != 0, scores, 0)), wide.widen(weights)


def _size(w, sign):
    """|w|, sign of the sign of w."""
    return wide.choose(sign < 0, -w, w)


def _square(s, w, sign, surrogate):
    positive, negative = wide.choose(sign > 0, w), wide.choose(sign < 0, -w)
    total_p, total_n = wide.total(positive), wide.total(negative)
    mean_p, mean_n = (
        wide.total(of_class * s) / wide.choose(wide.narrow(total, sign.dtype) > 0, total, 1.0)
        for of_class, total in ((positive, total_p), (negative, total_n))
    )
    reach = surrogate.margin + surrogate.temperature
    apart, from_n, from_p = mean_n - mean_p + reach, s - mean_n, s - mean_p
    within_n, within_p = wide.total(negative * (from_n * from_n)), wide.total(positive * (from_p * from_p))
    between = total_p * total_n * (apart * apart)
    scale = surrogate.temperature**-2
    slope = wide.choose(sign > 0, total_n * (from_n - reach), total_p * (from_p + reach))
    return scale * (between + total_p * within_n + total_n * within_p), 2 * scale * _size(w, sign) * slope


def _hinge(s, w, sign, surrogate):
    order, keys, sorted_weights, sign = _order(s, w, sign, surrogate)
    power = surrogate.fast.power
    below, above = _reached(keys, sign, sorted_weights, power)
    scale = surrogate.temperature**-power
    total = scale * wide.total(wide.choose(sign < 0, -sorted_weights) * below[power])
    slope = wide.choose(sign > 0, -above[power - 1], below[power - 1])
    return total, _put_back(order, scale * power * _size(sorted_weights, sign) * slope)


def _order(s, w, sign, surrogate):
    """(order, keys, weights, their sign), sorted so that a negative and the positives before it are the pairs that cost
    something.

    Of equal keys negatives come first: at the kink the hinge's slope is zero.
    """
    keys = s - wide.choose(sign > 0, wide.constant(surrogate.margin + surrogate.temperature, s))
    index = np.arange(sign.shape[0], dtype=np.int32)
    *parts, last = (_ordered(part) for part in jax.tree.leaves(keys))
    # the class in place of the last bit
    last = (last & last.dtype.type(-2)) | (sign > 0).astype(last.dtype)
    order = lax.sort((*parts, last, index), num_keys=len(parts) + 1, is_stable=False)[-1]
    return order, keys[order], w[order], sign[order]


def _ordered(x):
    """Floats as whole numbers of the same order, which sort twice as fast."""
    whole = np.int64 if x.dtype == np.float64 else np.int32
    bits = lax.bitcast_convert_type(jnp.where(x == 0, 0, x), whole)  # of two zeros neither comes first
    return jnp.where(bits < 0, whole(np.iinfo(whole).min) - bits, bits)


def _put_back(order, x):
    return jax.tree.map(lambda part: jnp.zeros_like(part).at[order].set(part, unique_indices=True), x)


def _reached(keys, sign, charges, power):
    """Sums of charge * distance^k over the positives at and below each key, and over the negatives at and above it.

    charges: signed by class, as weights are; they come back with the sign of a positive's. Two lists over k = 0 ... power.
    """
    before = jax.tree.map(lambda part: jnp.concatenate([part[:1], part[:-1]]), keys)
    gaps = keys - before
    # keys that differ in the last bit have no order
    gaps = wide.choose(wide.narrow(gaps, sign.dtype) > 0, gaps)
    below, above = wide.choose(sign > 0, charges), wide.choose(sign < 0, -charges)

    def both_ways(up, down):
        return jax.tree.map(lambda a, b: jnp.stack([a, b]), up, down)

    turned = jax.tree.map(lambda part: jnp.concatenate([jnp.zeros_like(part[:1]), part[:0:-1]]), gaps)
    sums = running_powers(both_ways(below, above[::-1]), both_ways(gaps, turned), power)
    return [x[0] for x in sums], [x[1][::-1] for x in sums]


def _partners(keys, sign, charges, power):
    """The sums of charge * distance^power over the partners of each sample: positives before a negative, and so on."""
    below, above = _reached(keys, sign, charges, power)
    return wide.choose(sign > 0, above[power], below[power])
