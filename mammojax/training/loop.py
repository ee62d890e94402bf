"""The training loop: epochs, evaluation, checkpoints, metrics, a stop on a loss that is not finite or on request.

Nothing is chosen here. What is watched (scores of samples that the network is not fitted to) is kept for every evaluated
epoch, and who called decides. A checkpoint holds where in an epoch the training is and what its steps have told so far,
so that it may be taken after any step.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils

from mammojax.errors import UserError
from mammojax.runs import processes, stopping
from mammojax.runs.devices import gathered, placed, spans_processes, unspread
from mammojax.runs.files import sha256_of, writing
from mammojax.training import spreading
from mammojax.training.checkpoints import Checkpoints
from mammojax.training.metrics import METRICS, MetricsFile, read_metrics
from mammojax.training.pace import Pace
from mammojax.training.step import Report, TrainState
from mammojax.training.votes import Votes

WATCHED = "watched"
_TOLD = ("loss", "penalty", "drift", "age")


class Fitted(NamedTuple):
    """The model after the kept epoch; step: optimiser steps taken until then; curve: {epoch: float32[n]}, scores of the
    watched samples after every evaluated epoch (epoch 0: before the first step, where asked for)."""

    model: nnx.Module
    step: int
    curve: dict[int, np.ndarray]


def fit(
    model: nnx.Module,
    state: TrainState,
    advance: Callable[[TrainState, int, int], Iterator[tuple[TrainState, Report]]],
    watch: Callable[[TrainState], np.ndarray],
    *,
    epochs: int,
    steps: int = 1,
    folder: Path,
    describe: Callable[[np.ndarray, Report], dict[str, float]],
    evaluate_every: int = 1,
    checkpoint_every: int = 10,
    checkpoint_minutes: float = 10.0,
    keep: int | None = None,
    from_start: bool = False,
    mesh=None,
    pace: Pace | None = None,
    batch: int = 1,
    say: Callable[[str], None] = lambda text: None,
    track: Callable = lambda it, **_: it,
    description: str = "training",
) -> Fitted:
    """Trains `epochs` epochs from `state` and fills `model` with what came out.

    advance(state, epoch, begin) -> (state, Report) after each part of an epoch (0, 1, ...) but the first `begin`, the same
    for the same epoch; steps: how many parts it gives, one step each or all of them in one (a Report of arrays [steps]).
    watch(state) -> float32[n], scores of what is watched. describe(scores, report) -> numbers for metrics.jsonl; the
    report's scores are those of an epoch in one part. epochs may be 0. keep: the evaluated epoch whose model is returned,
    None for the last. evaluate_every: epochs between evaluations; the last one is always evaluated. from_start: watch
    before the first step too. mesh: that `state` lies on. Where it is of several processes all of them fit, save and stop
    together; checkpoints lie in the first one's folder, everything else in each one's own. pace: is told how fast it goes; batch:
    samples a step. checkpoint_every, checkpoint_minutes: a checkpoint after so many epochs, and after any part
    once so much time has passed since the one before (0: after every part). folder: gets metrics.jsonl, tensorboard/, the
    watched scores and, while training, checkpoints/; a killed run goes on from the newest whole one and gives the same
    bits as one that was not killed.
    Raises UserError, naming the step, when the loss is not finite; the checkpoints stay. Raises `Stopped`, after a
    checkpoint, once that was asked for.
    """
    folder = Path(folder)
    fitting = _Fitting(
        folder, state, steps=steps, minutes=checkpoint_minutes, description=description, mesh=mesh
    )
    fitting.resume(say, keep=keep)
    done = fitting.epoch
    metrics, pace = MetricsFile(folder, epochs=done), pace or Pace()
    if from_start and done == fitting.part == 0:  # what goes on within the first epoch has its start's scores
        _keep(folder, 0, watch(fitting.state))
    try:
        for epoch in track(range(done, epochs), total=epochs, initial=done, description=description):
            pace.begin()
            for state, report in advance(fitting.state, epoch, fitting.part):
                taken = int(np.size(report.loss))
                pace.took(taken, taken * batch)
                fitting.took(state, report)
            report = fitting.report()
            speed = pace.ended()
            state = fitting.state
            last = epoch + 1 == epochs
            if last or (epoch + 1) % evaluate_every == 0:
                scores = watch(state)
                _keep(folder, epoch + 1, scores)
                line = {"loss": float(np.mean(report.loss)), "penalty": float(np.mean(report.penalty))}
                line |= {k: None if np.isnan(v) else float(v) for k, v in describe(scores, report).items()}
                metrics.write(epoch + 1, int(state.step), **line)
                stale = {"drift": float(np.mean(report.drift)), "age": float(np.mean(report.age))}
                metrics.show(int(state.step), **speed)
                pace.write(description, epoch + 1, int(state.step), **speed, **stale)
            fitting.epoch_ended(keep=epochs if keep is None else keep)
            if fitting.is_time(last=last, regular=(epoch + 1) % checkpoint_every == 0):
                fitting.save()
    except stopping.Stopped:
        fitting.save()
        raise
    finally:
        fitting.close()
        metrics.close()
        pace.close()
    nnx.update(model, *unspread(gathered(fitting.kept, mesh)))
    model.eval()
    return Fitted(model, fitting.kept_step, _curve(folder, epochs, mesh))


class _Fitting:
    """Where a fit is: `part` parts into `epoch`, with `state`; `kept`: the variables that are to be returned, of
    `kept_epoch` and its step `kept_step`."""

    def __init__(
        self, folder: Path, state: TrainState, *, steps: int, minutes: float, description: str, mesh
    ):
        self._votes, self._mesh = Votes(2, mesh), mesh
        self.state, self.epoch, self.part = state, 0, 0
        self.kept, self.kept_step, self.kept_epoch = _copied((state.kept, state.rest)), 0, 0
        self._told: list[Report] = []
        together = self._votes.together
        place = folder / "checkpoints"
        place = Path(processes.from_first(lambda: str(place.absolute()))) if together else place
        self._checkpoints, self._folder = Checkpoints(place, together=together), folder
        self._steps, self._seconds, self._description = steps, 60 * minutes, description
        self._saved, self._since = None, time.monotonic()

    def resume(self, say: Callable[[str], None], *, keep: int | None) -> None:
        """Goes on from the newest whole checkpoint, if there is one, unless it is past the epoch `keep` and kept another, or
        what the epochs before it have left beside it is not what was written."""
        tree = (spreading.portable(self.state, self._mesh), self.kept, self._where())
        restored = self._checkpoints.restore(_abstract(tree), say=say)
        if restored is None:
            return
        saved, leaves, facts = restored
        # copies: the first step donates them, and Orbax may still hold their memory
        state, kept, where = _copied(_unflatten(tree, leaves))
        epoch, part, kept_step, kept_epoch = map(int, where)

        def look() -> str:
            if keep is not None and epoch >= keep != kept_epoch:
                # where sums are not the same bits in every run, what chooses the epoch may choose another
                return f"the checkpoint kept epoch {kept_epoch} and epoch {keep} is wanted"
            if facts.get("beside") != _beside(self._folder, epoch):
                return f"the scores or metrics of the epochs up to {epoch} are not those that were written"
            return ""

        if fault := processes.from_first(look) if self._votes.together else look():
            say(f"{fault}; begun anew")
            self._checkpoints.clear()
            return
        self._saved, self.state, self.kept = saved, spreading.settled(state, self.state, self._mesh), kept
        self.epoch, self.part, self.kept_step, self.kept_epoch = epoch, part, kept_step, kept_epoch
        if self.part:
            told = {k: np.float32(v) for k, v in facts["told"].items()}
            self._told = [Report(**{"scores": None, **told})]
        within = f", step {self.part} of the next" if self.part else ""
        say(f"resumed after epoch {self.epoch}{within}")

    def took(self, state: TrainState, report: Report) -> None:
        """After a part of the epoch; saves if it is time, and looks whether to stop."""
        self.state, self.part = state, self.part + 1
        self._told.append(report if self._steps == 1 else report._replace(scores=None))
        if self._votes.together and self._steps == 1:
            return  # an epoch is one part: its end comes next
        stop, due = self._votes.cast(stopping.requested(), self._due())
        if self.part < self._steps and due:
            self.save()
        if stop:
            raise stopping.Stopped

    def report(self) -> Report:
        """What the parts of this epoch have told: arrays [steps], on the host: one device sync an epoch."""
        if len(self._told) == 1 and self._told[0].scores is not None:
            told = self._told[0]
        else:
            arrays = {k: np.concatenate([np.ravel(getattr(r, k)) for r in self._told]) for k in _TOLD}
            told = Report(scores=None, **arrays)
            self._told = [told]
        values = np.ravel(told.loss)
        if not np.isfinite(values).all():
            first = int(np.argmin(np.isfinite(values)))
            step = int(self.state.step) - len(values) + first + 1
            raise UserError(
                f"the loss is {values[first]} at step {step} (epoch {self.epoch + 1}) of {self._description}; "
                f"lower training.learning_rate or look at the data"
            )
        return told

    def epoch_ended(self, *, keep: int) -> None:
        """keep: the epoch after which the model is to be returned."""
        self.epoch, self.part, self._told = self.epoch + 1, 0, []
        if self.epoch == keep:
            self.kept, self.kept_epoch = _copied((self.state.kept, self.state.rest)), keep
            self.kept_step = int(self.state.step)

    def is_time(self, *, last: bool, regular: bool) -> bool:
        """Whether to save after an epoch. Raises `Stopped` where that was asked for."""
        stop, due = self._votes.settled(stopping.requested(), self._due())
        if stop:
            raise stopping.Stopped
        return not last and (regular or due)

    def _due(self) -> bool:
        """Whether it is time for a checkpoint, by the first process's clock."""
        return processes.is_first() and time.monotonic() - self._since >= self._seconds

    def _where(self) -> jax.Array:
        where = np.asarray([self.epoch, self.part, self.kept_step, self.kept_epoch], np.int32)
        # as the state lies, which every process has a part of
        return placed(where, self.state.step.sharding) if self._votes.together else jnp.asarray(where)

    def save(self) -> None:
        """A checkpoint of this moment, unless it is there already."""
        number = self.epoch * (self._steps + 1) + self.part  # grows from moment to moment, as Orbax wants it
        if number == self._saved:
            return
        told = {}
        if self.part:
            report = self.report()  # a loss that is not finite is not saved
            told = {k: np.asarray(v).tolist() for k, v in report._asdict().items() if v is not None}
        # copies: the save goes on in the background while the next step overwrites its donated state
        tree = _copied((spreading.portable(self.state, self._mesh), self.kept, self._where()))
        facts = {"told": told, "beside": _beside(self._folder, self.epoch)}
        self._checkpoints.save(number, _flatten(tree), facts)
        self._saved, self._since = number, time.monotonic()

    def close(self) -> None:
        """Waits for what is being saved."""
        self._checkpoints.close()


def _keep(folder: Path, epoch: int, scores: np.ndarray) -> None:
    with writing(folder / WATCHED / f"{epoch:05d}.npy") as file:
        np.save(file, np.asarray(scores, np.float32))


def _beside(folder: Path, epoch: int) -> dict[str, str]:
    """Checksums of what the epochs up to this one have left in the folder: {name: sha256}."""
    found = {p.name: sha256_of(p) for p in (folder / WATCHED).glob("*.npy") if int(p.stem) <= epoch}
    lines = [line for line in read_metrics(folder / METRICS) if line["epoch"] <= epoch]
    return found | {METRICS: hashlib.sha256(repr(lines).encode()).hexdigest()}


def watched(folder: Path, epochs: int) -> dict[int, np.ndarray]:
    """{epoch: float32[n]}: the watched scores of a fit, up to `epochs`."""
    found = sorted((Path(folder) / WATCHED).glob("*.npy"))
    return {int(p.stem): np.load(p) for p in found if int(p.stem) <= epochs}


def _curve(folder: Path, epochs: int, mesh) -> dict[int, np.ndarray]:
    """`watched` of the first process, which has the epochs from before a resume too."""
    if not spans_processes(mesh):
        return watched(folder, epochs)
    found = watched(folder, epochs) if processes.is_first() else {}
    known, samples = processes.from_first(lambda: [sorted(found), len(next(iter(found.values()), ()))])
    scores = np.stack([found.get(epoch, np.zeros(samples, np.float32)) for epoch in known])
    return dict(zip(known, np.asarray(multihost_utils.broadcast_one_to_all(scores))))


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
