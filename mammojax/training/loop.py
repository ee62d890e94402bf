"""The training loop: epochs, selection on an inner validation set, checkpoints, metrics, a stop on non-finite loss."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from mammojax.errors import UserError
from mammojax.training.checkpoints import Checkpoints
from mammojax.training.metrics import MetricsFile
from mammojax.training.step import Batch, Objective, make_scorer, make_step, start

SELECTION = "selection_auc"


class Fitted(NamedTuple):
    """The model with the parameters of the selected epoch; epoch and step: when they were reached."""

    model: nnx.Module
    epoch: int
    step: int


def fit(
    model: nnx.Module,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    batches: Callable[[int], Iterable[Collection[Batch]]],
    evaluate: Callable[[Callable], dict[str, float]],
    epochs: int,
    regularisation: float,
    folder: Path,
    seed: int = 0,
    evaluate_every: int = 1,
    checkpoint_every: int = 10,
    say: Callable[[str], None] = lambda text: None,
    track: Callable = lambda it, **_: it,
    description: str = "training",
) -> Fitted:
    """Trains and returns the model of the best epoch by `selection_auc` (the earliest of equals).

    batches(epoch): groups of batches, a step each, the same for the same epoch (0, 1, ...). evaluate(score) -> metrics, with
    score(batch) -> float32[b]; it must hold `selection_auc`, computed on data of the training folds; without it (or
    where it is nan) the last epoch is taken. evaluate_every: epochs between evaluations; the last one is always
    evaluated. folder: gets metrics.jsonl, tensorboard/ and, while training, checkpoints/; a killed run goes on from
    the newest whole one and gives the same bits as one that was not killed.
    Raises UserError, naming the step, when the loss is not finite; the checkpoints stay.
    """
    folder = Path(folder)
    graph, state = start(model, optimizer, objective)
    step = make_step(graph, optimizer, objective, regularisation=regularisation, seed=seed)
    scorer = make_scorer(model)
    best = (state.params, state.rest)
    best = _copied(best)
    facts = {"epoch": 0, "best_epoch": 0, "best_step": 0, "best": None}
    checkpoints = Checkpoints(folder / "checkpoints")
    restored = checkpoints.restore(_abstract((state, best)), say=say)
    if restored is not None:
        _, leaves, facts = restored
        leaves = _copied(leaves)  # the first step donates them, and Orbax may still hold their memory
        state, best = _unflatten((state, best), leaves)
        say(f"resumed after epoch {facts['epoch']}")
    metrics = MetricsFile(folder, epochs=facts["epoch"])
    try:
        for epoch in track(
            range(facts["epoch"], epochs), total=epochs, initial=facts["epoch"], description=description
        ):
            before = int(state.step)
            epoch_losses = []
            for group in batches(epoch):
                state, loss = step(state, group)
                epoch_losses.append(loss)
            values = np.asarray(jnp.stack(epoch_losses))  # one device sync an epoch
            if not np.isfinite(values).all():
                first = before + int(np.argmin(np.isfinite(values))) + 1
                raise UserError(
                    f"the loss is {values[first - before - 1]} at step {first} (epoch {epoch + 1}) in {folder}; "
                    f"lower training.learning_rate or look at the data"
                )
            last = epoch + 1 == epochs
            if last or (epoch + 1) % evaluate_every == 0:
                line = evaluate(lambda batch: scorer(state.params, state.rest, batch))  # noqa: B023 used at once
                chosen = line.get(SELECTION, float("nan"))
                undecided = np.isnan(chosen) and facts["best"] is None
                if undecided or (not np.isnan(chosen) and (facts["best"] is None or chosen > facts["best"])):
                    best = _copied((state.params, state.rest))
                    facts |= {
                        "best_epoch": epoch + 1,
                        "best_step": int(state.step),
                        "best": None if undecided else float(chosen),
                    }
                line = {k: None if np.isnan(v) else float(v) for k, v in line.items()}
                metrics.write(epoch + 1, int(state.step), loss=float(values.mean()), **line)
            facts = {**facts, "epoch": epoch + 1}
            if not last and (epoch + 1) % checkpoint_every == 0:
                # a copy: the save goes on in the background while the next step overwrites its donated state
                checkpoints.save(int(state.step), _flatten(_copied((state, best))), facts)
    finally:
        checkpoints.close()
        metrics.close()
    nnx.update(model, *best)
    model.eval()
    return Fitted(model, facts["best_epoch"], facts["best_step"])


def _flatten(tree) -> dict:
    """Leaves by number: Orbax then needs to know nothing of our pytrees."""
    return {f"{i:05d}": leaf for i, leaf in enumerate(jax.tree.leaves(tree))}


def _abstract(tree) -> dict:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), _flatten(tree))


def _unflatten(like, leaves: dict):
    return jax.tree.unflatten(jax.tree.structure(like), [leaves[name] for name in sorted(leaves)])


def _copied(tree):
    """Copies that are there, not under way: the next step overwrites what it is given."""
    return jax.block_until_ready(jax.tree.map(jnp.copy, tree))
