"""Stage two: scanning network and classifier merged in one graph and trained from pixels.

Cross-fitted as stage one is: every inner network starts from a classifier that was fitted to its own inner folds, so that
what chooses and calibrates has seen none of the watched films. The start, epoch 0, is a candidate.
"""

import copy
import functools
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mammojax.datasets.pipeline import Augmentation
from mammojax.datasets.record import RecordSet
from mammojax.evaluation.metrics import auc
from mammojax.experiment.maps import Learned, MapLearner, chosen_epoch
from mammojax.experiment.split import Split
from mammojax.runs.devices import room_for_programs
from mammojax.runs.stages import WORK
from mammojax.seeds import stream
from mammojax.training import batches as feeding
from mammojax.training.loop import Fitted, fit
from mammojax.training.objectives import Objective
from mammojax.training.optimizer import Optimizer
from mammojax.training.pace import Pace
from mammojax.training.scoring import make_scorer
from mammojax.training.step import compiled_step, start

_BETWEEN = 8  # groups between two looks at the room for programs


class MergedLearner:
    """Fits merged networks to the images of one data set.

    stage_one: gives the classifiers to start from. network: the pretrained scanning network (not changed). plans: of
    every record. training, finetune: of the settings. intensity, precision: as the representations were made. mesh, shard:
    see `compiled_step`.
    """

    def __init__(
        self,
        records: RecordSet,
        labels: np.ndarray,
        stage_one: MapLearner,
        *,
        network,
        plans: Sequence,
        objective: Objective,
        training,
        finetune,
        augmentation: Augmentation,
        intensity: str,
        precision: str,
        workers: int,
        mesh=None,
        shard: int = 0,
        pace: Pace | None = None,
        say: Callable[[str], None],
        track: Callable,
    ):
        self._labels, self._stage_one = labels, stage_one
        self._network, self._plans, self._objective = network, plans, objective
        self._training, self._finetune, self._precision = training, finetune, precision
        self._augmentation, self._mesh, self._shard = augmentation, mesh, shard
        self._say, self._track = say, track
        self._pace = pace or Pace()
        self._feed = functools.partial(
            feeding.pixel_batches,
            records,
            labels=labels,
            plans=plans,
            batch=finetune.batch,
            workers=workers,
            intensity=intensity,
            mesh=mesh,
        )

    def learn(self, parts: Split, folder: Path, *, seed: int, name: str) -> Learned:
        """The network of one fold; see `MapLearner.learn`."""
        base = self._stage_one.learn(parts, folder / WORK / "stage_one", seed=seed, name=f"{name}, stage one")
        here = stream(seed, "finetune")
        out_of_fold = np.empty(len(self._labels))
        aucs, curves = [], []
        for k, (fitted, watched) in enumerate(parts.inner):
            where = folder / WORK / f"inner_{k}"
            label = f"{name}, inner fold {k + 1} of {len(parts.inner)}"
            classifier = self._stage_one.inner_model(
                parts, k, where / "start", seed=seed, epoch=base.epoch, name=label
            )
            curve = self._fit(classifier, fitted, watched, where, stream(here, "inner", k), label).curve
            curves.append(curve)
            aucs.append({e: auc(scores, self._labels[watched]) for e, scores in curve.items()})
        epoch, inner_auc = chosen_epoch(aucs, self._training.select)
        for curve, (_, watched) in zip(curves, parts.inner):
            out_of_fold[watched] = curve[epoch]
        where = folder / WORK / "final"
        final = self._fit(base.model, parts.train, parts.held_out, where, here, name, keep=epoch)
        shutil.copy(where / "metrics.jsonl", folder / "metrics.jsonl")
        return Learned(final.curve[epoch], out_of_fold[parts.train], epoch, inner_auc, final.model)

    def _fit(
        self, classifier, fitted, watched, folder: Path, seed: int, name: str, keep: int | None = None
    ) -> Fitted:
        from mammojax.models.merged import MammogramNet, freeze

        tuning, labels = self._finetune, self._labels
        scanning = copy.deepcopy(self._network)
        freeze(scanning, tuning.frozen)
        model = MammogramNet(scanning, classifier, dtype=self._precision)
        count = sum(1 for _ in feeding.plan_batches(fitted, self._plans, tuning.batch))
        steps = feeding.steps_per_epoch(count, batch=1, group=tuning.microbatches)
        t = self._training
        optimizer = Optimizer(
            learning_rate=tuning.learning_rate,
            steps=max(tuning.epochs * steps, 1),
            schedule=t.schedule,
            warmup=t.warmup,
            clip=t.clip,
            decay=t.decay,
            regularisation=t.regularisation,
            average=t.average,
            scanning_rate=tuning.scanning_rate,
        )
        graph, state = start(
            model,
            optimizer,
            self._objective,
            labels=labels[fitted],
            seed=stream(seed, "reservoir"),
            mesh=self._mesh,
            shard=self._shard,
            anchored=True,  # decay pulls to where stage two began: the pretrained kernels and stage one's classifier
        )
        step = compiled_step(graph, optimizer, self._objective, self._mesh, self._shard)
        score = make_scorer(model, self._mesh)
        feed = self._feed(
            indices=fitted,
            seed=stream(seed, "shuffle"),
            augmentation=self._augmentation,
            group=tuning.microbatches,
            weights=self._stage_one.weights(fitted),
        )

        def advance(state, epoch, begin):
            for group in _with_room(self._pace.waited(feed(epoch, begin))):
                state, report = step(state, group)
                yield state, report

        def watch(state):
            groups = self._feed(indices=watched, seed=0, shuffle=False)(0)
            plain = (batch for (batch,) in _with_room(groups))
            values = feeding.score_all(lambda b: score(state.kept, state.rest, b), plain)
            order = [i for _, part in feeding.plan_batches(watched, self._plans, tuning.batch) for i in part]
            found = dict(zip(order, values, strict=True))
            return np.asarray([found[int(i)] for i in watched])

        def describe(scores, report):
            return {"held_out_auc" if keep is not None else "inner_auc": auc(scores, labels[watched])}

        return fit(
            model,
            state,
            advance,
            watch,
            epochs=tuning.epochs,
            steps=steps,
            folder=folder,
            describe=describe,
            keep=keep,
            from_start=True,
            checkpoint_every=1,
            checkpoint_minutes=t.checkpoint_minutes,
            mesh=self._mesh,
            pace=self._pace,
            batch=tuning.batch * (tuning.microbatches or count),
            say=self._say,
            track=self._track,
            description=name,
        )


def _with_room(groups: Iterable) -> Iterator:
    """The groups as they come. Each may need a program of its own, by its plan."""
    for k, group in enumerate(groups):
        if k % _BETWEEN == 0:
            room_for_programs()
        yield group
