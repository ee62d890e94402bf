"""Twenty steps on one device and on a mesh, for test_mesh.py: prints a line of JSON.

JAX_NUM_CPU_DEVICES says how many devices a process simulates: how far both are apart, and the losses and parameters of
one. With arguments PORT NUMBER ID it is one of several real processes, whose devices are one mesh: the losses and
parameters alone.
"""

import json
import re
import sys

import jax
import numpy as np
from jax.sharding import AxisType, Mesh
from small_network import Small

from mammojax.training import spreading
from mammojax.training.objectives import Auc, WeightedLogistic
from mammojax.training.optimizer import Optimizer
from mammojax.training.scoring import make_scorer
from mammojax.training.step import Batch, Maps, compiled_step, start

if len(sys.argv) > 1:
    port, number, own = sys.argv[1:]
    jax.distributed.initialize(f"127.0.0.1:{port}", int(number), int(own))

SAMPLES, SIZE, STEPS = 90, 30, 20  # thirty samples on eight devices: two are padding
RNG = np.random.default_rng(0)
LABELS = (np.arange(SAMPLES) % 4 == 0).astype(np.int32)
MAPS = Maps(
    RNG.normal(size=(SAMPLES, 1, 1, 5)).astype(np.float32) + LABELS[:, None, None, None],
    np.ones((SAMPLES, 1, 1), bool),
)
MESH = Mesh(np.asarray(jax.devices()).reshape(-1, 1), ("data", "rows"), axis_types=(AxisType.Auto,) * 2)


def trained(objective, mesh):
    """(losses, parameters, scores of all samples, compiled text) after the steps."""
    model, optimizer = Small(), Optimizer(learning_rate=0.02, steps=STEPS)
    graph, state = start(model, optimizer, objective, labels=LABELS, mesh=mesh)
    step, score = compiled_step(graph, optimizer, objective, mesh), make_scorer(model, mesh)
    told = []
    for k in range(STEPS):
        chosen = np.random.default_rng(k).permutation(SAMPLES)[:SIZE].astype(np.int32)
        batch = Batch(chosen, LABELS[chosen], chosen, np.arange(SIZE) < SIZE - k % 3)
        state, report = step(state, (batch,), MAPS)
        told.append(float(report.loss))
    everyone = np.arange(SAMPLES, dtype=np.int32)
    whole = Batch(everyone, LABELS, everyone, np.ones(SAMPLES, bool))
    scores = score(state.kept, state.rest, whole, MAPS) if jax.process_count() == 1 else None
    # without the last bias: pairs do not see it, its gradient is rounding alone, and Adam makes full steps of that
    seen = (state.params.first.kernel, state.params.first.bias, state.params.last.kernel)
    parameters = np.concatenate([np.ravel(p[...]) for p in seen])
    return told, parameters, None if scores is None else scores - scores.mean()


def collectives(objective):
    """{name: bytes} of the compiled step on the mesh."""
    optimizer = Optimizer(learning_rate=0.02, steps=STEPS)
    graph, state = start(Small(), optimizer, objective, labels=LABELS, mesh=MESH)
    chosen = np.arange(SIZE, dtype=np.int32)
    batch = spreading.spread(Batch(chosen, LABELS[:SIZE], chosen, np.ones(SIZE, bool)), MESH)
    text = (
        compiled_step(graph, optimizer, objective, MESH)
        .program.lower(state, batch, MAPS, None)
        .compile()
        .as_text()
    )
    found: dict[str, int] = {}
    for shapes, name in re.findall(
        r"= (\(?[^=]*?\)?) (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(",
        text,
    ):
        sizes = [np.prod([int(n) for n in s.split(",") if n]) for s in re.findall(r"\w+\[([\d,]*)\]", shapes)]
        found[name] = found.get(name, 0) + 4 * int(sum(sizes))
    return found


def apart(found, expected):
    found, expected = (np.asarray(x, np.float64) for x in (found, expected))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


OBJECTIVES = {
    "buffer all": Auc(implementation="tiled"),
    "batch": Auc(pairs="batch", implementation="tiled"),
    "weighted logistic": WeightedLogistic(),
}
if jax.process_count() > 1:
    OBJECTIVES = {name: OBJECTIVES[name] for name in ("buffer all", "weighted logistic")}
out = {"devices": MESH.size, "processes": jax.process_count()}
for name, objective in OBJECTIVES.items():
    print(name, file=sys.stderr, flush=True)
    losses, parameters, scores = trained(objective, MESH)
    if jax.process_count() > 1:
        out[name] = [losses, parameters.tolist()]
        continue
    one = trained(objective, None)
    out[name] = [apart(a, b) for a, b in zip((losses, parameters, scores), one)]
    out[f"{name} of one"] = [one[0], one[1].tolist()]
if jax.process_count() == 1:
    out["collectives"] = collectives(OBJECTIVES["buffer all"])
print(json.dumps(out))
