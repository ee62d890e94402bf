"""One device against eight simulated ones: prints a line of JSON with what differs.

Run by test_sharded.py with JAX_NUM_CPU_DEVICES=8. With the argument `all` more forms of the loss are compiled.
"""

import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from mammojax.losses import (
    ScoreBuffers,
    auc,
    buffered_auc_loss,
    buffers,
    multilabel_auc_loss,
    pairwise_auc_loss,
)

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


@functools.cache
def programs(implementation, surrogate, inside):
    """Jitted (scores, labels, weights) -> (loss, gradient): of one device, of eight; inside: differentiated in there."""
    loss = functools.partial(
        pairwise_auc_loss, implementation=implementation, surrogate=surrogate, max_fpr=0.9
    )

    def part(s, y, w):
        return loss(s, y, weights=w, axis_name="data")

    forms = [jax.value_and_grad(lambda s, y, w: loss(s, y, weights=w))]
    forms.append(jax.value_and_grad(on_eight(part, (SPREAD, SPREAD, SPREAD))))
    if inside:
        forms.append(on_eight(jax.value_and_grad(part), (SPREAD, SPREAD, SPREAD), (SAME, SPREAD)))
    return [jax.jit(form) for form in forms]


def difference(implementation, surrogate, kind, inside):
    """The worst of loss and gradient."""
    scores, labels = sample(kind)
    weights = np.random.default_rng(1).uniform(0.5, 2, len(scores)).astype(np.float32)
    (value, gradient), *found = (
        f(scores, labels, weights) for f in programs(implementation, surrogate, inside)
    )
    return max(max(apart(v, value), apart(g, gradient)) for v, g in found)


def plain_jit():
    """Scores that are split over the devices, in a function that is not mapped: the worst of loss, gradient, AUC."""
    scores, labels = sample("overlap", 160)
    expected = jax.value_and_grad(lambda s: pairwise_auc_loss(s, labels, implementation="materialized"))(
        scores
    )
    area, worst = auc(scores, labels), 0.0
    for mesh in (MESH, jax.make_mesh((8,), ("data",))):  # Auto; Explicit, the default
        sharding = NamedSharding(mesh, SPREAD)
        split = jax.device_put(scores, sharding)
        said = {"sharding": sharding} if mesh is MESH else {}
        form = functools.partial(pairwise_auc_loss, implementation="tiled", **said)
        program = jax.jit(jax.value_and_grad(lambda s, f=form: f(s, labels)))
        value, gradient = program(split)
        assert gradient.sharding.is_equivalent_to(sharding, 1)
        assert "all-gather" not in program.lower(split).compile().as_text()
        found = jax.jit(lambda s, kw=said: auc(s, labels, **kw))(split)
        worst = max(worst, apart(value, expected[0]), apart(gradient, expected[1]), apart(found, area))
    return worst


def losses():
    more = "all" in sys.argv
    ways = [("fast", "logistic", kind, more) for kind in ("overlap", "Cauchy", "no grid")]
    ways += [("tiled", "logistic", "overlap", True)]
    if more:
        ways += [("fast", name, "overlap", False) for name in ("squared_hinge", "square")]
    out = {" ".join(way[:3]): difference(*way) for way in ways}
    out["plain jit"] = plain_jit()
    if not more:
        return out
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
    first = (np.arange(len(scores)) < 5).astype(np.int32)  # positives on one device alone
    columns = np.stack([scores, -scores], 1), np.stack([labels, first], 1)
    several = functools.partial(multilabel_auc_loss, implementation="tiled")
    mapped = on_eight(functools.partial(several, axis_name="data"), (SPREAD, SPREAD))
    out["several labels"] = apart(jax.jit(mapped)(*columns), jax.jit(several)(*columns))
    out["auc"] = apart(jax.jit(area)(ties, labels), auc(ties, labels))
    return out


def stored(policy):
    """Two steps of loss and update with buffers; the worst difference of loss, gradient and stored scores."""
    scores, labels = sample("overlap", 64)
    ids = np.random.default_rng(3).permutation(64).astype(np.int32)
    where = np.arange(64) % 7 > 0
    one = eight = ScoreBuffers.init(policy, 64 if policy == "all" else 16)
    specs = one.specs("data")

    def beside(s, y, i, v, b, **along):
        return buffered_auc_loss(s, y, i, b, where=v, implementation="tiled", correct_drift=True, **along)

    update = functools.partial(buffers.update, correct_drift=True)
    step8 = on_eight(
        lambda s, y, i, v, b: beside(s, y, i, v, b, axis_name="data"),
        (*(SPREAD,) * 4, specs),
    )
    update8 = on_eight(
        lambda s, y, i, v, b, key: update(b, s, y, i, where=v, key=key, axis_name="data"),
        (*(SPREAD,) * 4, specs, P()),
        specs,
    )
    plain1, plain8, update1, update8 = (
        jax.jit(f) for f in (jax.value_and_grad(beside), jax.value_and_grad(step8), update, update8)
    )
    worst = 0.0
    for half in (slice(0, 32), slice(32, 64), slice(16, 48)):
        part = scores[half] + np.float32(half.start / 50), labels[half], ids[half], where[half]
        key = jax.random.key(half.start)
        plain = plain1(*part, one)
        sharded = plain8(*part, eight)
        worst = max(worst, apart(sharded[0], plain[0]), apart(sharded[1], plain[1]))
        one = update1(one, *part[:3], where=part[3], key=key)
        eight = update8(*part, eight, key)
        # a drift is a sum over devices: other last digits
        same = jax.tree.map(lambda a, b: bool(jnp.allclose(a, b, rtol=1e-6, atol=1e-6)), one, eight)
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
            **{
                f"buffers {policy}": stored(policy)
                for policy in (("all", "reservoir", "fifo") if "all" in sys.argv else ("all",))
            },
            "collectives": {str(size): collectives(size) for size in (8_000, 64_000)},
        }
    )
)
