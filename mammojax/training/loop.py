"""The training loop: epochs, evaluation, checkpoints, metrics, a stop on a loss that is not finite.

Nothing is chosen here. What is watched (scores of samples that the network is not fitted to) is kept for every evaluated
epoch, and who called decides.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mammojax.errors import UserError
from mammojax.runs.files import writing
from mammojax.training.checkpoints import Checkpoints
from mammojax.training.metrics import MetricsFile
from mammojax.training.step import Report, TrainState

WATCHED = "watched"


class Fitted(NamedTuple):
    """The model after the kept epoch; step: optimiser steps taken until then; curve: {epoch: float32[n]}, scores of the
    watched samples after every evaluated epoch (epoch 0: before the first step, where asked for)."""

    model: nnx.Module
    step: int
    curve: dict[int, np.ndarray]


def fit(
    model: nnx.Module,
    state: TrainState,
    advance: Callable[[TrainState, int], tuple[TrainState, Report]],
    watch: Callable[[TrainState], np.ndarray],
    *,
    epochs: int,
    folder: Path,
    describe: Callable[[np.ndarray, Report], dict[str, float]],
    evaluate_every: int = 1,
    checkpoint_every: int = 10,
    keep: int | None = None,
    from_start: bool = False,
    say: Callable[[str], None] = lambda text: None,
    track: Callable = lambda it, **_: it,
    description: str = "training",
) -> Fitted:
    """Trains `epochs` epochs from `state` and fills `model` with what came out.

    advance(state, epoch) -> (state, Report with arrays [steps]), the same for the same epoch (0, 1, ...). watch(state) ->
    float32[n], scores of what is watched. describe(scores, report) -> numbers for metrics.jsonl. epochs may be 0. keep:
    the evaluated epoch whose model is returned, None for the last. evaluate_every: epochs between evaluations; the last one is always evaluated. from_start: watch before the first
    step too. folder: gets metrics.jsonl, tensorboard/, the watched scores and, while training, checkpoints/; a killed
    run goes on from the newest whole one and gives the same bits as one that was not killed.
    Raises UserError, naming the step, when the loss is not finite; the checkpoints stay.
    """
    folder = Path(folder)
    checkpoints = Checkpoints(folder / "checkpoints")
    kept = (_copied((state.kept, state.rest)), 0)
    restored = checkpoints.restore(_abstract((state, kept[0])), say=say)
    done = 0
    if restored is not None:
        _, leaves, facts = restored
        # copies: the first step donates them, and Orbax may still hold their memory
        state, variables = _copied(_unflatten((state, kept[0]), leaves))
        done, kept = facts["epoch"], (variables, facts["kept_step"])
        say(f"resumed after epoch {done}")
    metrics = MetricsFile(folder, epochs=done)
    if from_start and done == 0:
        _keep(folder, 0, watch(state))
    try:
        for epoch in track(range(done, epochs), total=epochs, initial=done, description=description):
            before = int(state.step)
            state, report = advance(state, epoch)
            values = np.asarray(report.loss)  # one device sync an epoch
            if not np.isfinite(values).all():
                first = int(np.argmin(np.isfinite(values)))
                raise UserError(
                    f"the loss is {values[first]} at step {before + first + 1} (epoch {epoch + 1}) of {description}; "
                    f"lower training.learning_rate or look at the data"
                )
            last = epoch + 1 == epochs
            if last or (epoch + 1) % evaluate_every == 0:
                scores = watch(state)
                _keep(folder, epoch + 1, scores)
                line = {"loss": float(values.mean()), "penalty": float(np.mean(report.penalty))}
                line |= {k: None if np.isnan(v) else float(v) for k, v in describe(scores, report).items()}
                metrics.write(epoch + 1, int(state.step), **line)
            if epoch + 1 == (epochs if keep is None else keep):
                kept = (_copied((state.kept, state.rest)), int(state.step))
            if not last and (epoch + 1) % checkpoint_every == 0:
                # copies: the save goes on in the background while the next step overwrites its donated state
                facts = {"epoch": epoch + 1, "kept_step": kept[1]}
                checkpoints.save(int(state.step), _flatten(_copied((state, kept[0]))), facts)
    finally:
        checkpoints.close()
        metrics.close()
    nnx.update(model, *kept[0])
    model.eval()
    return Fitted(model, kept[1], watched(folder, epochs))


def _keep(folder: Path, epoch: int, scores: np.ndarray) -> None:
    with writing(folder / WATCHED / f"{epoch:05d}.npy") as file:
        np.save(file, np.asarray(scores, np.float32))


def watched(folder: Path, epochs: int) -> dict[int, np.ndarray]:
    """{epoch: float32[n]}: the watched scores of a fit, up to `epochs`."""
    found = sorted((Path(folder) / WATCHED).glob("*.npy"))
    return {int(p.stem): np.load(p) for p in found if int(p.stem) <= epochs}


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
