"""What training minimises. An objective is one object: options that are compared by value, and the loss that they mean.

A new one is a class here and its line in `OBJECTIVES`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import jax

from mammojax import losses
from mammojax.errors import UserError

_ROOM = 64  # samples


class Objective(Protocol):
    """loss(scores float32[b], batch, state) -> float32[]; buffers(samples) -> initial `ScoreBuffers` or None; at_once() ->
    the same objective where every step sees the whole training set, and so needs no stored scores. correct_drift: whether
    stored scores are moved by the mean change of the batch's own samples. first: (objective, rate) of a plain step of
    gradient descent, after which scores are taken; the gradient goes through it.

    axis_name: of `jax.shard_map`, where the batch is that of all devices along it and the buffers lie as their `specs` say.
    Hashable by value: a compiled step is shared by all that have equal objectives. state.counts: float32[2], negatives
    and positives of the training set; state.buffers: the score buffers.
    """

    @property
    def correct_drift(self) -> bool: ...

    @property
    def first(self) -> "tuple[Objective, float] | None": ...

    def loss(self, scores: jax.Array, batch: Any, state: Any, axis_name: str | None = None) -> jax.Array: ...

    def buffers(self, samples: int) -> losses.ScoreBuffers | None: ...

    def at_once(self) -> "Objective": ...


class OfStep:
    """What an objective is unless it says otherwise: of the samples of a step alone."""

    correct_drift = False
    first = None

    def buffers(self, samples):
        return None

    def at_once(self):
        return self


@dataclasses.dataclass(frozen=True)
class Logistic(OfStep):
    """The plain logistic loss: baseline 2 of the paper."""

    def loss(self, scores, batch, state, axis_name=None):
        return losses.logistic_loss(
            scores, batch.labels, where=batch.where, weights=batch.weights, axis_name=axis_name
        )


@dataclasses.dataclass(frozen=True)
class WeightedLogistic(OfStep):
    """The logistic loss with each class carrying half of the weight, by the counts of the training set."""

    def loss(self, scores, batch, state, axis_name=None):
        half = state.counts.sum() / 2 / state.counts  # of a negative, of a positive
        weights = half[batch.labels]
        if batch.weights is not None:
            weights = weights * batch.weights
        # the mean over the batch's plain number of samples: `logistic_loss` divides by the sum of the weights
        kept, total = batch.where.sum(), (weights * batch.where).sum()
        if axis_name is not None:
            kept, total = jax.lax.psum((kept, total), axis_name)
        weighed = losses.logistic_loss(
            scores, batch.labels, where=batch.where, weights=weights, axis_name=axis_name
        )
        return weighed * total / jax.numpy.maximum(kept, 1)


@dataclasses.dataclass(frozen=True)
class Auc(OfStep):
    """The pairwise AUC loss, eq. (4), over the pairs of a step's samples, or of these and the buffers (eq. 3).

    pairs: "batch", "buffer" or "two_pass", which is "batch" for steps over groups of batches. policy, capacity: of the
    score buffers; capacity 0 means one slot a training sample. surrogate ... temperature: of a pair. correct_drift: stored
    scores are moved by the mean change of the batch's own samples. stratified: batches are drawn class by class.
    """

    pairs: str = "buffer"
    policy: str = "all"
    capacity: int = 0
    surrogate: str = "logistic"
    implementation: str = "auto"
    margin: float = 0.0
    temperature: float = 1.0
    correct_drift: bool = True
    stratified: bool = False

    def form(self):
        names = ("surrogate", "implementation", "margin", "temperature")
        return {name: getattr(self, name) for name in names}

    def loss(self, scores, batch, state, axis_name=None):
        if self.pairs == "buffer" and state.buffers is not None:
            return losses.buffered_auc_loss(
                scores,
                batch.labels,
                batch.ids,
                state.buffers,
                where=batch.where,
                weights=batch.weights,
                stratified=self.stratified,
                correct_drift=self.correct_drift,
                axis_name=axis_name,
                **self.form(),
            )
        known = {"where": batch.where, "weights": batch.weights, "axis_name": axis_name}
        return losses.pairwise_auc_loss(scores, batch.labels, **known, **self.form())

    def buffers(self, samples):
        if self.pairs != "buffer":
            return None
        if self.policy == "all":
            return _of_all(samples)
        return losses.ScoreBuffers.init(policy=self.policy, capacity=self.capacity or samples)

    def at_once(self):
        return dataclasses.replace(self, pairs="batch")


@dataclasses.dataclass(frozen=True)
class Mixed(OfStep):
    """Half the AUC loss over the pairs of a step and half the logistic loss: the second fixes the offset that pairs
    leave free."""

    auc: Auc = Auc()

    @property
    def correct_drift(self) -> bool:
        return self.auc.correct_drift

    def loss(self, scores, batch, state, axis_name=None):
        pairs = self.auc.loss(scores, batch, state, axis_name)
        return (pairs + Logistic().loss(scores, batch, state, axis_name)) / 2

    def buffers(self, samples):
        return self.auc.buffers(samples)

    def at_once(self):
        return Mixed(self.auc.at_once())


@dataclasses.dataclass(frozen=True)
class Compositional(OfStep):
    """The AUC loss at w - rate * dL/dw, L the logistic loss of the same samples at w (Yuan et al. 2022, "Compositional
    training for end-to-end deep AUC maximization", eq. 3): features by the one loss, order by the other. The gradient is the
    exact one, with the curvature of L in it; no mean of w - rate * dL/dw over steps is kept (their PDSCA does). Scores that
    are stored and reported are those after the inner step."""

    auc: Auc
    rate: float

    @property
    def correct_drift(self) -> bool:
        return self.auc.correct_drift

    @property
    def first(self):
        return Logistic(), self.rate

    def loss(self, scores, batch, state, axis_name=None):
        return self.auc.loss(scores, batch, state, axis_name)

    def buffers(self, samples):
        return self.auc.buffers(samples)

    def at_once(self):
        return Compositional(self.auc.at_once(), self.rate)


@dataclasses.dataclass(frozen=True)
class PartialAuc(OfStep):
    """The pairwise loss of the highest `max_fpr` of the negatives of a step and the lowest 1 - `min_tpr` of its positives
    (one-way partial AUC where min_tpr is 0, two-way above); `pair`: the options of a pair. A step should see many
    samples: best the whole training set."""

    max_fpr: float
    min_tpr: float
    pair: Auc

    def loss(self, scores, batch, state, axis_name=None):
        form = self.pair.form() | {"max_fpr": self.max_fpr, "min_tpr": self.min_tpr, "axis_name": axis_name}
        return losses.pairwise_auc_loss(
            scores, batch.labels, where=batch.where, weights=batch.weights, **form
        )


@dataclasses.dataclass(frozen=True)
class SoftPartialAuc(OfStep):
    """The smooth partial AUC loss of a step's samples. softness: of the choice of negatives. two_way: the positives are
    chosen by it too."""

    softness: float
    pair: Auc
    two_way: bool = False

    def loss(self, scores, batch, state, axis_name=None):
        _on_one_device("the smooth partial AUC", axis_name)
        return losses.soft_partial_auc_loss(
            scores,
            batch.labels,
            where=batch.where,
            weights=batch.weights,
            softness=self.softness,
            positive_softness=self.softness if self.two_way else None,
            surrogate=self.pair.surrogate,
            margin=self.pair.margin,
            temperature=self.pair.temperature,
        )


@dataclasses.dataclass(frozen=True)
class Aucm(OfStep):
    """The min-max margin loss of margin 1 + `margin`, with its saddle solved instead of ascended to: a, b and alpha are
    those of the present scores of a step and the stored scores of all other samples. So a batch of one class adds what it
    knows. stored: whether there are others; without them the step sees the whole training set. correct_drift: as in `Auc`.
    """

    margin: float = 0.0
    stored: bool = True
    correct_drift: bool = True

    def loss(self, scores, batch, state, axis_name=None):
        _on_one_device("AUCM", axis_name)
        margin = 1 + self.margin
        known = scores, batch.labels, batch.where, batch.weights
        if self.stored and state.buffers is not None:
            after = losses.buffers.update(
                state.buffers,
                jax.lax.stop_gradient(scores),
                batch.labels,
                batch.ids,
                where=batch.where,
                weights=batch.weights,
                correct_drift=self.correct_drift,
            )
            known = after.scores, after.labels, after.labels >= 0, after.weights
        variables = losses.aucm_saddle(*known[:2], where=known[2], weights=known[3], margin=margin)
        share = state.counts[1] / state.counts.sum()
        return losses.aucm_loss(
            scores,
            batch.labels,
            variables,
            margin=margin,
            positive_share=share,
            where=batch.where,
            weights=batch.weights,
        )

    def buffers(self, samples):
        return _of_all(samples) if self.stored else None

    def at_once(self):
        return dataclasses.replace(self, stored=False)


@dataclasses.dataclass(frozen=True)
class AveragePrecision(OfStep):
    """One minus a smooth average precision of a step's samples."""

    temperature: float = 1.0

    def loss(self, scores, batch, state, axis_name=None):
        _on_one_device("average precision", axis_name)
        return losses.average_precision_loss(
            scores,
            batch.labels,
            where=batch.where,
            weights=batch.weights,
            temperature=self.temperature,
        )


def _of_all(samples: int) -> losses.ScoreBuffers:
    """Room for all samples and a few more: folds of nearly one size have buffers of one shape, and share a program."""
    return losses.ScoreBuffers.init("all", -(-samples // _ROOM) * _ROOM)


def _on_one_device(what: str, axis_name: str | None) -> None:
    if axis_name is not None:
        raise UserError(f"{what} is computed on one device; give config.mesh.data=1")


PAIR = ("surrogate", "implementation", "margin", "temperature")
STORED = ("pairs", "policy", "capacity", "correct_drift")


@dataclasses.dataclass(frozen=True)
class Line:
    """An objective by its name: make(**options) of the options of the loss that it `takes`, and of no others; `stratified`
    comes with those of stored scores."""

    make: Callable[..., Objective]
    takes: tuple[str, ...] = ()

    def __call__(self, **options) -> Objective:
        known = (*self.takes, "stratified") if "policy" in self.takes else self.takes
        return self.make(**{name: options[name] for name in known if name in options})


OBJECTIVES: dict[str, Line] = {
    "logistic": Line(Logistic),
    "weighted_logistic": Line(WeightedLogistic),
    "auc": Line(Auc, (*PAIR, *STORED)),
    "auc_and_logistic": Line(lambda **pair: Mixed(Auc(**pair)), (*PAIR, *STORED)),
    "compositional_auc": Line(
        lambda inner_rate, **pair: Compositional(Auc(**pair), inner_rate), (*PAIR, *STORED, "inner_rate")
    ),
    "partial_auc": Line(
        lambda max_fpr, min_tpr, **pair: PartialAuc(max_fpr, min_tpr, Auc(**pair)),
        (*PAIR, "pairs", "max_fpr", "min_tpr"),
    ),
    "soft_partial_auc": Line(
        lambda softness, **pair: SoftPartialAuc(softness, Auc(**pair)),
        ("surrogate", "margin", "temperature", "pairs", "softness"),
    ),
    "soft_two_way_auc": Line(
        lambda softness, **pair: SoftPartialAuc(softness, Auc(**pair), two_way=True),
        ("surrogate", "margin", "temperature", "pairs", "softness"),
    ),
    "aucm": Line(
        lambda margin, correct_drift, pairs: Aucm(margin, correct_drift=correct_drift),
        ("margin", "correct_drift", "pairs"),
    ),
    "average_precision": Line(AveragePrecision, ("temperature",)),
}
