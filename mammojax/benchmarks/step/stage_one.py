"""What a training of stage one costs beside its compiled steps, and what a checkpoint costs it."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mammojax.benchmarks.timing import in_turns
from mammojax.models.classifiers.paper import Classifier
from mammojax.training.batches import Drawing, row_batches
from mammojax.training.epoch import compiled_epoch
from mammojax.training.loop import fit
from mammojax.training.objectives import Auc
from mammojax.training.optimizer import Optimizer
from mammojax.training.step import Maps, compiled_step, start

INTERVAL = 600.0  # seconds, the default of training.checkpoint_minutes


class Outside(NamedTuple):
    """Seconds of the same steps: of the compiled steps alone, and of a fit with them; the best of the turns."""

    steps: float
    fit: float

    @property
    def share(self) -> float:
        """Of the fit's time, what is not in compiled steps."""
        return max(0.0, 1 - self.steps / self.fit)


class Saving(NamedTuple):
    """seconds: that one checkpoint holds the loop, and slows it down, in the mean. bytes: on the disk. share: of the time,
    at the default interval."""

    seconds: float
    bytes: int

    @property
    def share(self) -> float:
        return self.seconds / INTERVAL


class Training:
    """The paper's classifier and AUC loss with buffers on random maps that lie on the device."""

    def __init__(self, *, samples: int, cells: int, channels: int, batch: int, epochs: int):
        rng = np.random.default_rng(0)
        self.labels = (np.arange(samples) % 4 == 0).astype(np.int32)
        self.maps = Maps(
            jnp.asarray(rng.normal(size=(samples, cells, cells, channels)).astype(np.float32)),
            jnp.ones((samples, cells, cells), bool),
        )
        self.steps = -(-samples // batch)
        self._optimizer = Optimizer(learning_rate=1e-4, steps=self.steps * epochs)
        self._build = lambda: Classifier(channels, cells, rngs=nnx.Rngs(0))
        self._objective, self._drawing, self._epochs = Auc(), Drawing(batch), epochs

    def _start(self):
        model = self._build()
        return (model, *start(model, self._optimizer, self._objective, labels=self.labels))

    def _rows(self, epoch: int):
        everyone = np.arange(len(self.labels))
        return row_batches(everyone, self.labels, drawing=self._drawing, copies=1, seed=0, epoch=epoch)

    def steps_alone(self) -> None:
        """All steps of all epochs, their batches made before; one wait at the end."""
        _, graph, state = self._start()
        rows = self._rows(0)
        batches = [
            jax.tree.map(lambda part, k=k: part[k], rows._replace(tissue=None, plan=None))
            for k in range(self.steps)
        ]
        step = compiled_step(graph, self._optimizer, self._objective)
        jax.block_until_ready(state)
        began = time.perf_counter()
        for _ in range(self._epochs):
            for batch in batches:
                state, report = step(state, (batch,), self.maps)
        jax.block_until_ready((state, report))
        self.seconds = time.perf_counter() - began

    def fitted(self, folder: Path, checkpoint_every: int = 10**9) -> None:
        """The same steps as `launch.train` makes them: batches drawn, metrics written, checkpoints."""
        model, graph, state = self._start()
        epoch_of = compiled_epoch(graph, self._optimizer, self._objective)
        jax.block_until_ready(state)
        began = time.perf_counter()
        fit(
            model,
            state,
            lambda state, epoch, begin: iter([epoch_of(state, self._rows(epoch), self.maps)]),
            lambda state: np.zeros(1, np.float32),  # scoring is another program's time
            epochs=self._epochs,
            folder=folder,
            describe=lambda scores, report: {},
            checkpoint_every=checkpoint_every,
            checkpoint_minutes=1e6,
        )
        self.seconds = time.perf_counter() - began


def outside(training: Training, *, repeats: int) -> Outside:
    """What a fit spends beside its steps, in turns with the steps alone."""
    best = {"steps": np.inf, "fit": np.inf}

    def keep(name: str, call: Callable[[], None]) -> None:
        call()
        best[name] = min(best[name], training.seconds)

    with tempfile.TemporaryDirectory() as folder:
        count = iter(range(10**6))
        calls = {
            "steps": lambda: keep("steps", training.steps_alone),
            "fit": lambda: keep("fit", lambda: training.fitted(Path(folder) / str(next(count)))),
        }
        in_turns(calls, repeats)
    return Outside(best["steps"], best["fit"])


def saving(training: Training, *, repeats: int, epochs: int) -> Saving:
    """What a checkpoint costs the loop: fits with one after every epoch (but the last) beside fits without."""
    best = {1: np.inf, 10**9: np.inf}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for turn in range(repeats + 1):  # the first is not counted
            for every in best:
                training.fitted(place / f"{turn}_{every}", checkpoint_every=every)
                best[every] = min(best[every], training.seconds if turn else np.inf)
        newest = max((place / "1_1" / "checkpoints").iterdir(), key=lambda p: int(p.name))
        size = sum(p.stat().st_size for p in newest.rglob("*") if p.is_file())
    return Saving(max(0.0, best[1] - best[10**9]) / (epochs - 1), size)
