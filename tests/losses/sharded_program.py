"""One device against eight simulated ones: prints a line of JSON with what differs.

Run by test_sharded.py with JAX_NUM_CPU_DEVICES=8.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from mammojax.losses import ScoreBuffers, auc, buffered_auc_loss, buffers, pairwise_auc_loss

MESH = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
SPREAD, SAME = P("data"), P()


def apart(found, expected):
    found, expected = (np.asarray(x, np.float64) for x in (found, expected))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def on_eight(function, specs, out=SAME):
    return jax.shard_map(function, mesh=MESH, in_specs=specs, out_specs=out)


def sample(kind, size=800):
    rng = np.random.default_rng(0)
    labels = (rng.random(size) < 0.2).astype(np.int32)
    scores = rng.normal(size=size) + labels
    scores = {"Cauchy": rng.standard_cauchy(size), "no grid": scores * 1e9}.get(kind, scores)
    return scores.astype(np.float32), labels


def difference(implementation, surrogate, kind, inside):
    """The worst of loss and gradient; inside: differentiated inside of shard_map as well."""
    scores, labels = sample(kind)
    weights = np.random.default_rng(1).uniform(0.5, 2, len(scores)).astype(np.float32)
    loss = functools.partial(
        pairwise_auc_loss, implementation=implementation, surrogate=surrogate, max_fpr=0.9
    )

    def part(s, y, w):
        return loss(s, y, weights=w, axis_name="data")

    eight = jax.value_and_grad(on_eight(part, (SPREAD, SPREAD, SPREAD)))
    forms = [eight]
    if inside:
        forms.append(on_eight(jax.value_and_grad(part), (SPREAD, SPREAD, SPREAD), (SAME, SPREAD)))
    value, gradient = jax.value_and_grad(lambda s: loss(s, labels, weights=weights))(scores)
    found = [jax.jit(form)(scores, labels, weights) for form in forms]
    return max(max(apart(v, value), apart(g, gradient)) for v, g in found)


def losses():
    ways = [("fast", "logistic", "overlap", True), ("fast", "logistic", "Cauchy", False),
            ("fast", "logistic", "no grid", False), ("tiled", "logistic", "overlap", True),
            ("fast", "squared_hinge", "overlap", False), ("fast", "square", "overlap", False)]  # fmt: skip
    out = {" ".join(way[:3]): difference(*way) for way in ways}
    scores, labels = sample("overlap")
    tangent = np.random.default_rng(2).normal(size=len(scores)).astype(np.float32)
    f = functools.partial(pairwise_auc_loss, implementation="fast")
    eight = on_eight(functools.partial(f, axis_name="data"), (SPREAD, SPREAD))
    curved = [
        jax.jit(lambda s, t, g=g: jax.jvp(jax.grad(lambda s: g(s, labels)), (s,), (t,))[1])(scores, tangent)
        for g in (f, eight)
    ]
    out["Hessian product"] = apart(curved[1], curved[0])
    ties = np.round(scores * 3) / 3
    area = on_eight(lambda s, y: auc(s, y, axis_name="data"), (SPREAD, SPREAD))
    out["auc"] = apart(jax.jit(area)(ties, labels), auc(ties, labels))
    return out


def stored(policy):
    """Two steps of loss and update with buffers; the worst difference of loss, gradient and stored scores."""
    scores, labels = sample("overlap", 64)
    ids = np.random.default_rng(3).permutation(64).astype(np.int32)
    where = np.arange(64) % 7 > 0
    one = eight = ScoreBuffers.init(policy, 64 if policy == "all" else 16)
    specs = one.specs("data")
    step8 = on_eight(
        lambda s, y, i, v, b: buffered_auc_loss(s, y, i, b, where=v, implementation="fast", axis_name="data"),
        (*(SPREAD,) * 4, specs),
    )
    update8 = on_eight(
        lambda s, y, i, v, b, key: buffers.update(b, s, y, i, where=v, key=key, axis_name="data"),
        (*(SPREAD,) * 4, specs, P()),
        specs,
    )
    worst = 0.0
    for half in (slice(0, 32), slice(32, 64), slice(16, 48)):
        part = scores[half] + np.float32(half.start / 50), labels[half], ids[half], where[half]
        key = jax.random.key(half.start)
        plain = jax.value_and_grad(
            lambda s, p=part, b=one: buffered_auc_loss(s, p[1], p[2], b, where=p[3], implementation="fast")
        )(part[0])
        sharded = jax.jit(jax.value_and_grad(step8))(*part, eight)
        worst = max(worst, apart(sharded[0], plain[0]), apart(sharded[1], plain[1]))
        one = buffers.update(one, *part[:3], where=part[3], key=key)
        eight = jax.jit(update8)(*part, eight, key)
        same = jax.tree.map(lambda a, b: bool((a == b).all()), one, eight)
        assert all(jax.tree.leaves(same)), (policy, same)
    return worst


def collectives(size):
    """[[(name, bytes), ...] outside of loops, in the first loop (plain grid), in the second (compressed), the third]"""
    scores = jnp.zeros(size)
    f = on_eight(
        functools.partial(pairwise_auc_loss, implementation="fast", axis_name="data"), (SPREAD, SPREAD)
    )
    found = [[]]
    names = ("psum", "pmax", "pmin", "ppermute", "all_gather", "all_to_all", "reduce_scatter")

    def walk(jaxpr, place):
        for eqn in jaxpr.eqns:
            if eqn.primitive.name.split("_invariant")[0] in names:
                moved = sum(v.aval.size * v.aval.dtype.itemsize for v in eqn.invars)
                found[place].append((eqn.primitive.name, moved))
            inside = place
            if eqn.primitive.name == "while" and place == 0:
                found.append([])
                inside = len(found) - 1
            for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    walk(inner, inside)

    walk(jax.make_jaxpr(jax.value_and_grad(f))(scores, jnp.zeros(size, jnp.int32)).jaxpr, 0)
    return [group for group in found if group]


print(
    json.dumps(
        {
            **losses(),
            **{f"buffers {policy}": stored(policy) for policy in ("all", "reservoir", "fifo")},
            "collectives": {str(size): collectives(size) for size in (8_000, 64_000)},
        }
    )
)
