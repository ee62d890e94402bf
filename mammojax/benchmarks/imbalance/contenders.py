"""The losses that are compared on one head, and trials of how the AUC loss could be mended there.

A contender is a line in `CONTENDERS`. `TABLE` is what is compared by default; the others separate possible causes from
one another, each one change against "auc" or "logistic".
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mammojax.losses import logistic_loss
from mammojax.training.objectives import Auc, Logistic, Mixed, Objective, OfStep, WeightedLogistic


@dataclasses.dataclass(frozen=True)
class RandomPairs(OfStep):
    """The AUC loss of `count` pairs a step, drawn anew each time, with replacement, of the step's samples: unbiased, and
    as noisy as they are few."""

    count: int

    def loss(self, scores, batch, state, axis_name=None):
        key = jax.random.fold_in(jax.random.key(state.seed), state.step)
        positive, negative = (
            _drawn(scores, batch.where & (batch.labels == label), k, self.count)
            for label, k in zip((1, 0), jax.random.split(key))
        )
        return jnp.mean(jax.nn.softplus(negative - positive))


def _drawn(scores, chosen, key, count: int):
    """float32[count]: scores of samples drawn from `chosen`, bool[n], which holds at least one."""
    through = jnp.cumsum(chosen)
    ranks = jax.random.randint(key, (count,), 0, through[-1])
    return scores[jnp.searchsorted(through, ranks, side="right")]


@dataclasses.dataclass(frozen=True)
class Handover(OfStep):
    """The logistic loss for the first `steps` steps, the AUC loss from then on: a warm start within one fit."""

    steps: int

    def loss(self, scores, batch, state, axis_name=None):
        early, late = (loss.loss(scores, batch, state) for loss in (Logistic(), Auc(pairs="batch")))
        return jnp.where(state.step < self.steps, early, late)


@dataclasses.dataclass(frozen=True)
class Anchored(OfStep):
    """The AUC loss plus half the logistic loss of the negatives alone: their scores are pressed below zero, not only
    below the positives'."""

    def loss(self, scores, batch, state, axis_name=None):
        negatives = batch.where & (batch.labels == 0)
        pressed = logistic_loss(scores, batch.labels, where=negatives)
        return Auc(pairs="batch").loss(scores, batch, state) + pressed / 2


@dataclasses.dataclass(frozen=True)
class Lopsided(OfStep):
    """The AUC loss whose gradient by the positives is as much smaller as they are fewer, as the logistic loss has it at
    its start: what is left of the difference is the offset."""

    def loss(self, scores, batch, state, axis_name=None):
        share = state.counts[1] / state.counts[0]
        held = jax.lax.stop_gradient(scores)
        slowed = jnp.where(batch.labels == 1, held + share * (scores - held), scores)
        return Auc(pairs="batch").loss(slowed, batch, state)


@dataclasses.dataclass(frozen=True)
class FreeOffset(OfStep):
    """The logistic loss at the best offset of its scores, found in each step by Newton's method: fixes no offset either,
    and weighs the classes as the logistic loss does."""

    def loss(self, scores, batch, state, axis_name=None):
        held, share = jax.lax.stop_gradient(scores), state.counts[1] / state.counts.sum()
        centre = jnp.sum(jnp.where(batch.where, held, 0)) / jnp.sum(batch.where)
        offset = jnp.log(share) - jnp.log1p(-share) - centre
        for _ in range(8):  # converges in four where scores are of the size of one
            p = jax.nn.sigmoid(held + offset)
            slope = jnp.sum(jnp.where(batch.where, p - batch.labels, 0))
            offset -= jnp.clip(slope / jnp.sum(jnp.where(batch.where, p * (1 - p), 0)), -1, 1)
        return logistic_loss(scores + offset, batch.labels, where=batch.where)


class Contender(NamedTuple):
    """title, colour: for tables and figures. objective: what is minimised."""

    title: str
    colour: str
    objective: Objective


CONTENDERS = {
    "logistic": Contender("logistic", "#0072b2", Logistic()),
    "weighted": Contender("class-weighted logistic", "#56b4e9", WeightedLogistic()),
    "auc": Contender("AUC, all pairs", "#d55e00", Auc(pairs="batch")),
    "half": Contender("half AUC, half logistic", "#009e73", Mixed(Auc(pairs="batch"))),
    "pairs_16": Contender("AUC, 16 pairs a step", "#cc79a7", RandomPairs(16)),
    "pairs_128": Contender("AUC, 128 pairs a step", "#e69f00", RandomPairs(128)),
    "handover": Contender("AUC after 20 steps of logistic", "#332288", Handover(20)),
    "anchored": Contender("AUC, and half logistic on negatives", "#117733", Anchored()),
    "lopsided": Contender("AUC, positives slowed by N/P", "#999933", Lopsided()),
    "free_offset": Contender("logistic at its best offset", "#000000", FreeOffset()),
}
TABLE = ("logistic", "weighted", "auc", "half", "pairs_16", "pairs_128")
