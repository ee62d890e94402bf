"""Kernels and the optimiser's state spread over devices: eight simulated ones for test_spread_kernels.py, or those of several
real processes for test_four_processes.py. Prints a line of JSON.

stored FOLDER, or more; or processes FOLDER PORT NUMBER OWN.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
from small_network import Small

from mammojax.benchmarks.ahead_of_time import sent
from mammojax.runs import processes, stopping
from mammojax.runs.devices import gathered, program_mesh
from mammojax.training import spreading
from mammojax.training.loop import fit
from mammojax.training.objectives import Auc, Compositional
from mammojax.training.optimizer import Optimizer
from mammojax.training.scoring import make_scorer
from mammojax.training.step import Batch, Maps, compiled_step, start

SAMPLES, SIZE, STEPS = 90, 30, 20  # eight divide neither
LEAST = 64  # the first kernel has 80 numbers, the last 16
LABELS = (np.arange(SAMPLES) % 4 == 0).astype(np.int32)
MAPS = Maps(
    np.random.default_rng(0).normal(size=(SAMPLES, 1, 1, 5)).astype(np.float32) + LABELS[:, None, None, None],
    np.ones((SAMPLES, 1, 1), bool),
)
ROWS = np.arange(SAMPLES, dtype=np.int32)
EVERYONE = Batch(ROWS, LABELS, ROWS, np.ones(SAMPLES, bool))
# everything that the optimiser may keep or add: moments, a running mean, what decay pulls to, a norm over all kernels
OPTIMIZER = Optimizer(
    learning_rate=0.02, steps=STEPS, clip=0.01, decay="penalty", regularisation=0.5, average=0.8
)


LOSS = {"surrogate": "square", "implementation": "fast"}  # the least to compile
STORED = Auc(**LOSS)


def batches(steps, size=SIZE):
    for k in steps:
        chosen = np.random.default_rng(k).permutation(SAMPLES)[:size].astype(np.int32)
        yield Batch(chosen, LABELS[chosen], chosen, np.arange(size) < size - k % 3)


def trained(objective, mesh, least=0, *, steps=STEPS, together=1):
    """(what is compared, state); together: batches a step."""
    graph, state = start(Small(), OPTIMIZER, objective, labels=LABELS, anchored=True, mesh=mesh, shard=least)
    step = compiled_step(graph, OPTIMIZER, objective, mesh, least)
    told = []
    for k in range(steps):
        group = list(batches(range(k, k + together)))
        if together > 1:  # of several batches, each brings its maps
            group = [b._replace(inputs=MAPS.values[b.inputs], tissue=MAPS.tissue[b.inputs]) for b in group]
        state, report = step(state, group, MAPS if together == 1 else None)
        told.append((float(report.loss), float(report.penalty)))
    seen = (
        state.params.first.kernel,
        state.average.first.kernel,
        state.params.last.kernel,
        state.params.first.bias,
    )
    seen = gathered([p[...] for p in seen], mesh)
    return [np.asarray(told), *map(np.asarray, seen)], state


def apart(found, expected):
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found, expected, strict=True))


def collectives(objective, mesh, least):
    graph, state = start(Small(), OPTIMIZER, objective, labels=LABELS, mesh=mesh, shard=least)
    batch = spreading.spread(next(batches([0])), mesh)
    step = compiled_step(graph, OPTIMIZER, objective, mesh, least)
    return sent(step.program.lower(state, batch, MAPS, None).compile().as_text())


def fitted(folder, mesh, least, *, stops_after=None):
    """(what is compared, what was said): five epochs of four steps, a request to stop after so many steps."""
    model, objective = Small(), STORED
    graph, state = start(model, OPTIMIZER, objective, labels=LABELS, mesh=mesh, shard=least)
    step, score = compiled_step(graph, OPTIMIZER, objective, mesh, least), make_scorer(model, mesh)

    def advance(state, epoch, begin):
        for k, batch in enumerate(
            itertools.islice(batches(range(4 * epoch, 4 * epoch + 4)), begin, None), begin
        ):
            state, report = step(state, (batch,), MAPS)
            yield state, report
            if 4 * epoch + k + 1 == stops_after:
                raise stopping.Stopped

    said = []
    try:
        found = fit(
            model, state, advance, lambda s: score(s.kept, s.rest, EVERYONE, MAPS), epochs=5, steps=4,
            folder=folder, describe=lambda scores, report: {}, mesh=mesh, batch=SIZE, say=said.append,
        )  # fmt: skip
    except stopping.Stopped:
        return None, said
    scores = found.curve[5]
    return [np.asarray(found.model.first.kernel[...]), scores - scores.mean()], said


def resumed(folder, first, then):
    """(how far from an undisturbed fit, what was said) of one that was stopped on some devices and went on on others."""
    fitted(folder, *first, stops_after=10)
    found, said = fitted(folder, *then)
    return apart(found, UNDISTURBED), said


if sys.argv[1] == "processes":
    port, number, own = sys.argv[3:]
    processes.join(f"127.0.0.1:{port}", int(number), int(own))
MESH = program_mesh(0, 1)
ONE, ALL = (None, 0), (MESH, LEAST)
out = {"devices": MESH.size}
if sys.argv[1] == "more":
    compositional = Compositional(Auc(pairs="batch", **LOSS), 0.1)
    out["compositional"] = apart(*(trained(compositional, *on, steps=5)[0] for on in (ALL, ONE)))
    grouped = Auc(pairs="two_pass", **LOSS)
    out["two passes"] = apart(*(trained(grouped, *on, steps=3, together=2)[0] for on in (ALL, ONE)))
elif sys.argv[1] == "processes":
    whole = trained(STORED, *ONE)[0]
    out["processes"] = processes.count()
    out["replicated"] = apart(trained(STORED, MESH, 0)[0], whole)
    out["spread"] = apart(trained(STORED, *ALL)[0], whole)
    folder = Path(sys.argv[2])
    UNDISTURBED, _ = fitted(folder / f"whole {own}", *ONE)
    out["resumed"] = resumed(folder / f"cut {own}", ALL, ALL)
else:
    found, state = trained(STORED, *ALL)
    out["stored scores"] = apart(found, trained(STORED, *ONE)[0])
    kept = (state.params, state.opt_state[1].mu, state.opt_state[1].nu, state.average, state.anchor)
    out["parts"] = [list(tree.first.kernel[...].sharding.shard_shape((5, 16))) for tree in kept]
    out["last kernel"] = list(state.params.last.kernel[...].sharding.shard_shape((16, 1)))
    out["sent"] = collectives(STORED, *ALL)
    folder = Path(sys.argv[2])
    UNDISTURBED, _ = fitted(folder / "whole", *ONE)
    out["resumed"] = [resumed(folder / "fewer", ALL, ONE), resumed(folder / "more", ONE, ALL)]
print(json.dumps(out))
if sys.argv[1] == "processes":
    processes.leave(0)
