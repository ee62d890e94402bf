"""Stage one: a classifier of maps, its epoch chosen inside the training folds.

Inner cross-fitting: one fit for each inner fold gives scores of samples that it was not fitted to; the epoch with the
best mean inner AUC is chosen (or the last one is taken), the out-of-fold scores at that epoch calibrate, and then one
network is fitted to all training folds. The held-out fold is scored with what was chosen.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammojax.errors import UserError
from mammojax.evaluation.metrics import auc
from mammojax.experiment.split import Split
from mammojax.representations.bags import Bags
from mammojax.runs.stages import WORK
from mammojax.seeds import stream
from mammojax.training import batches as feeding
from mammojax.training.epoch import compiled_epoch
from mammojax.training.full_batch import filled, fit_full
from mammojax.training.loop import fit
from mammojax.training.metrics import MetricsFile
from mammojax.training.objectives import Objective
from mammojax.training.optimizer import Optimizer
from mammojax.training.pace import Pace
from mammojax.training.scoring import make_scorer
from mammojax.training.step import Batch, Maps, compiled_step, start

RESIDENT = 4 << 30  # bytes of maps up to which a set lies on the device for the whole fit


@dataclass(frozen=True, eq=False)
class Learned:
    """One network and what chose it: scores float[held_out] and out_of_fold float[train], logits; epoch; inner_auc: {epoch:
    mean inner AUC}; model: in evaluation mode."""

    scores: np.ndarray
    out_of_fold: np.ndarray
    epoch: int
    inner_auc: dict[int, float]
    model: object


def chosen_epoch(curves: Sequence[dict[int, float]], select: str) -> tuple[int, dict[int, float]]:
    """(epoch, {epoch: mean AUC}): the epoch of the best mean over inner folds, the earliest of equals; select "last": the
    last one. curves: {epoch: AUC} of each inner fold; NaN where a class is missing."""
    epochs = sorted(set.intersection(*(set(curve) for curve in curves)))
    mean = {}
    for epoch in epochs:
        known = [curve[epoch] for curve in curves if not np.isnan(curve[epoch])]
        mean[epoch] = float(np.mean(known)) if known else float("nan")
    defined = [epoch for epoch in epochs if not np.isnan(mean[epoch])]
    if select == "last" or not defined:
        return epochs[-1], mean
    return max(defined, key=lambda epoch: (mean[epoch], -epoch)), mean


class MapLearner:
    """Fits classifiers to the samples of one data set.

    bags: of all samples. maps: the same on the device, None to read them batch by batch. labels: int[n]. build(seed) ->
    classifier. training: `settings.Training`. weights(fitted) -> float32[n], what each of all samples counts where those are
    fitted to, or None. group: batches a step (0: an epoch). mesh, shard: see `compiled_step`;
    the maps lie on it.
    """

    def __init__(
        self,
        bags: Bags,
        maps: Maps | None,
        labels: np.ndarray,
        *,
        build: Callable,
        objective: Objective,
        training,
        weights: Callable[[np.ndarray], np.ndarray | None] = lambda fitted: None,
        group: int = 1,
        mesh=None,
        shard: int = 0,
        pace: Pace | None = None,
        say: Callable[[str], None],
        track: Callable,
    ):
        self._bags, self._maps, self._labels = bags, maps, labels
        self.weights = weights
        self._build, self._objective, self._training, self._group = build, objective, training, group
        self._mesh, self._shard = mesh, shard
        self._pace, self._say, self._track = pace or Pace(), say, track

    def learn(self, parts: Split, folder: Path, *, seed: int, name: str) -> Learned:
        """The network of one fold. folder: a cell's; gets metrics.jsonl, scratch goes to its `WORK`. seed: of the start,
        the order and the reservoir; equal for arms that are compared."""
        everything = self._training.batch == 0 or self._training.batch >= len(parts.train)
        if everything and self._maps is not None and self._bags.copies == 1:
            return self._at_once(parts, folder, seed, name)
        return self._in_batches(parts, folder, seed, name)

    def inner_model(self, parts: Split, k: int, folder: Path, *, seed: int, epoch: int, name: str):
        """The network of inner fold k at an epoch, fitted again, in evaluation mode: what stage two starts from there."""
        fitted, watched = parts.inner[k]
        return self._fit(
            fitted, watched, folder, stream(seed, "inner", k), self._training.epochs, name, epoch
        ).model

    def _model(self, seed: int):
        model = self._build(seed)
        model.set_normalisation(*self._bags.normalisation)
        return model

    def _optimizer(self, steps: int) -> Optimizer:
        t = self._training
        names = ("learning_rate", "schedule", "warmup", "clip", "decay", "regularisation", "average")
        return Optimizer(steps=steps, **{name: getattr(t, name) for name in names})

    def _at_once(self, parts: Split, folder: Path, seed: int, name: str) -> Learned:
        """All inner networks and the final one together, every step on the whole training set."""
        jobs = [*parts.inner, (parts.train, parts.held_out)]
        members = np.zeros((len(jobs), len(self._labels)), bool)
        for k, (fitted, _) in enumerate(jobs):
            members[k, fitted] = True
        weights = [self.weights(fitted) for fitted, _ in jobs]
        models = [self._model(stream(seed, "classifier", k)) for k in range(len(jobs))]
        found = fit_full(
            models,
            self._objective.at_once(),
            self._optimizer(self._training.epochs),
            self._maps,
            self._labels,
            members,
            epochs=self._training.epochs,
            evaluate_every=self._training.evaluate_every,
            weights=None if weights[0] is None else np.stack(weights),
        )
        epochs = [int(epoch) for epoch in found.epochs]
        wrong = ~(np.isfinite(found.loss) & np.isfinite(np.where(members, found.scores, 0)).all(-1)).all(-1)
        if wrong.any():
            raise UserError(
                f"the loss or a score is not finite by epoch {epochs[int(np.argmax(wrong))]} of {name}; "
                "lower training.learning_rate or look at the data"
            )

        def curve(k):
            chosen = jobs[k][1]
            return {e: auc(found.scores[j, k, chosen], self._labels[chosen]) for j, e in enumerate(epochs)}

        final = len(jobs) - 1
        epoch, inner_auc = chosen_epoch([curve(k) for k in range(final)], self._training.select)
        at = epochs.index(epoch)
        out_of_fold = np.empty(len(self._labels))
        for k, (_, watched) in enumerate(parts.inner):
            out_of_fold[watched] = found.scores[at, k, watched]
        metrics = MetricsFile(folder / WORK, epochs=0)
        for j, (e, value) in enumerate(curve(final).items()):
            training = auc(found.scores[j, final, parts.train], self._labels[parts.train])
            metrics.write(e, e, loss=float(found.loss[j, final]), penalty=float(found.penalty[j, final]),
                          training_auc=training, held_out_auc=_plain(value))  # fmt: skip
        metrics.close()
        shutil.copy(folder / WORK / "metrics.jsonl", folder / "metrics.jsonl")
        model = filled(models[final], found, network=final, evaluation=at)
        scores = found.scores[at, final, parts.held_out]
        return Learned(scores, out_of_fold[parts.train], epoch, inner_auc, model)

    def _in_batches(self, parts: Split, folder: Path, seed: int, name: str) -> Learned:
        t = self._training
        out_of_fold = np.empty(len(self._labels))
        curves = []
        for k, (fitted, watched) in enumerate(parts.inner):
            where = folder / WORK / f"inner_{k}"
            label = f"{name}, inner fold {k + 1} of {len(parts.inner)}"
            curves.append(self._fit(fitted, watched, where, stream(seed, "inner", k), t.epochs, label).curve)
        aucs = [
            {e: auc(scores, self._labels[watched]) for e, scores in curve.items()}
            for curve, (_, watched) in zip(curves, parts.inner)
        ]
        epoch, inner_auc = chosen_epoch(aucs, t.select)
        for curve, (_, watched) in zip(curves, parts.inner):
            out_of_fold[watched] = curve[epoch]
        # the whole schedule is trained for the curve of Figure 3; what is kept is the chosen epoch
        where = folder / WORK / "final"
        final = self._fit(parts.train, parts.held_out, where, seed, t.epochs, name, keep=epoch)
        shutil.copy(where / "metrics.jsonl", folder / "metrics.jsonl")
        return Learned(final.curve[epoch], out_of_fold[parts.train], epoch, inner_auc, final.model)

    def _fit(self, fitted, watched, folder: Path, seed: int, epochs: int, name: str, keep: int | None = None):
        t, labels = self._training, self._labels
        batch = min(t.batch or len(fitted), len(fitted))
        group = self._group
        steps = feeding.steps_per_epoch(len(fitted), batch=batch, group=group)
        drawing = feeding.Drawing(batch, t.positives, self.weights(fitted))
        optimizer = self._optimizer(steps * t.epochs)
        model = self._model(stream(seed, "classifier"))
        graph, state = start(
            model,
            optimizer,
            self._objective,
            labels=labels[fitted],
            seed=stream(seed, "reservoir"),
            mesh=self._mesh,
            shard=self._shard,
        )
        shuffle = stream(seed, "shuffle")
        score = make_scorer(model, self._mesh)
        rows = self._maps is not None and group == 1
        seen: dict[int, Batch] = {}

        def advance(state, epoch, begin):
            if rows:
                made = feeding.row_batches(
                    fitted, labels, drawing=drawing, copies=self._bags.copies, seed=shuffle, epoch=epoch
                )
                seen[epoch] = made
                if not begin:  # the whole epoch is one part
                    epoch_of = compiled_epoch(graph, optimizer, self._objective, self._mesh, self._shard)
                    yield epoch_of(state, made, self._maps)
                return
            step = compiled_step(graph, optimizer, self._objective, self._mesh, self._shard)
            feed = feeding.map_batches(
                self._bags, fitted, labels, drawing=drawing, seed=shuffle, group=group, mesh=self._mesh
            )
            for gathered in self._pace.waited(feed(epoch, begin)):
                state, report = step(state, gathered)
                yield state, report

        def watch(state):
            if self._maps is not None:
                made = _row_chunks(watched, labels, self._bags.copies, batch)
            else:
                made = feeding.evaluation_batches(self._bags, watched, labels, batch=batch, mesh=self._mesh)
            return feeding.score_all(lambda b: score(state.kept, state.rest, b, self._maps), made)

        def describe(scores, report):
            line = {"held_out_auc" if keep is not None else "inner_auc": auc(scores, labels[watched])}
            if state.buffers is not None:
                line |= {"drift": float(np.mean(report.drift)), "age": float(np.mean(report.age))}
            if report.scores is not None and seen:
                made = seen.pop(max(seen))
                line["training_auc"] = auc(np.asarray(report.scores)[made.where], made.labels[made.where])
            return line

        return fit(
            model,
            state,
            advance,
            watch,
            epochs=epochs,
            steps=1 if rows else steps,
            folder=folder,
            describe=describe,
            keep=keep,
            evaluate_every=t.evaluate_every,
            checkpoint_every=t.checkpoint_every,
            checkpoint_minutes=t.checkpoint_minutes,
            mesh=self._mesh,
            pace=self._pace,
            batch=batch * (group or -(-len(fitted) // batch)),
            say=self._say,
            track=self._track,
            description=name,
        )


def _row_chunks(indices, labels, copies: int, size: int):
    """Plain copies of samples that lie on the device, in order; the last batch is padded."""
    for begin in range(0, len(indices), size):
        chosen = np.asarray(indices[begin : begin + size])
        fill = np.concatenate([chosen, np.repeat(chosen[:1], size - len(chosen))])
        yield Batch(
            inputs=(fill * copies).astype(np.int32),
            labels=labels[fill].astype(np.int32),
            ids=np.arange(size, dtype=np.int32),
            where=np.arange(size) < len(chosen),
        )


def _plain(value: float):
    return None if np.isnan(value) else float(value)
