"""One head, many losses, fewer and fewer positives: which positives are left, what is chosen inside, what is held out.

A stage is one loss on one fold: learning rate and decay are chosen for every share of positives by the mean AUC of inner
folds, by the same grid and the same number of trials for every loss; then each draw is trained with what was chosen and
scores the held-out fold once. Networks differ in parameters, training samples, rate and decay alone, so that `TOGETHER`
of them share every pass over the maps and all calls of a loss are one program.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammojax.benchmarks.imbalance.contenders import Contender
from mammojax.evaluation.metrics import auc
from mammojax.experiment.split import Split
from mammojax.runs.files import writing
from mammojax.runs.share import Piece
from mammojax.runs.stages import key, made
from mammojax.seeds import stream
from mammojax.training.full_batch import fit_full
from mammojax.training.optimizer import Optimizer
from mammojax.training.step import Maps

FORM = 1  # raise it when what a stage holds changes
FEWEST = 3  # positives of a training set
TOGETHER = 64  # networks: their gradients and scores of all cells take some hundred MB
SCORES = "scores.npz"


@dataclass(frozen=True)
class Design:
    """What is compared: shares of the positives that are left; draws (thinning and first weights) of each; rates and decays
    of the grid; trials (a draw and an inner fold) by which one of them is chosen; seed."""

    shares: tuple[float, ...]
    draws: int
    rates: tuple[float, ...]
    decays: tuple[float, ...]
    trials: int
    seed: int


def thinned(samples: np.ndarray, labels: np.ndarray, share: float, *, seed: int) -> np.ndarray:
    """The sample numbers that are left: all negatives and round(share P) of P positives, at least one.

    For one seed, what a smaller share leaves is part of what a larger one does. labels: of all samples.
    """
    positives = samples[labels[samples] == 1]
    kept = max(1, round(share * len(positives)))
    chosen = np.random.default_rng(seed).permutation(positives)[:kept]
    return np.sort(np.concatenate([samples[labels[samples] == 0], chosen]))


def possible(shares: Sequence[float], splits: Sequence[Split], labels: np.ndarray) -> tuple[float, ...]:
    """The shares that leave at least `FEWEST` positives in every training set."""
    fewest = min(int(labels[parts.train].sum()) for parts in splits)
    return tuple(share for share in shares if round(share * fewest) >= FEWEST)


class Trainer:
    """Trains networks on one fold's maps.

    build(seed) -> classifier with its normalisation set. maps: of all samples. optimizer: what of it is not in the grid.
    """

    def __init__(self, build: Callable, optimizer: Optimizer, maps: Maps, labels: np.ndarray):
        self._build, self._optimizer, self._maps, self._labels = build, optimizer, maps, labels

    def scores(self, contender: Contender, jobs: Sequence[tuple], *, tell: Callable[[int], None]):
        """(float32[jobs, n], the least seconds a network that a call took): scores of all samples after the last step.

        jobs: (sample numbers, seed, rate, decay) of each. tell(number): networks that are done.
        """
        found, seconds = [], []
        size = -(-len(jobs) // -(-len(jobs) // TOGETHER))  # calls of one size, so that they are one program
        for begin in range(0, len(jobs), size):
            chosen = jobs[begin : begin + size]
            filled = [*chosen, *[chosen[0]] * (size - len(chosen))]
            members = np.zeros((len(filled), len(self._labels)), bool)
            for k, (samples, *_) in enumerate(filled):
                members[k, samples] = True
            models = {seed: self._build(seed) for seed in {job[1] for job in filled}}
            start = time.perf_counter()
            fit = fit_full(
                [models[job[1]] for job in filled],
                contender.objective,
                self._optimizer,
                self._maps,
                self._labels,
                members,
                epochs=self._optimizer.steps,
                evaluate_every=self._optimizer.steps,
                seeds=[job[1] for job in filled],
                rates=[job[2] for job in filled],
                decays=[job[3] for job in filled],
            )
            seconds.append((time.perf_counter() - start) / len(filled))
            found.append(fit.scores[-1, : len(chosen)])
            tell(len(chosen))
        return np.concatenate(found), min(seconds)


def piece(
    parent: Path,
    name: str,
    contender: Contender,
    parts: Split,
    design: Design,
    trainer: Callable[[], Trainer],
    labels: np.ndarray,
    *,
    made_from: dict,
    say: Callable[[str], None],
    track: Callable,
) -> Piece:
    """The work of one loss on one fold, whose result is a finished stage in `parent`.

    Its `SCORES` hold scores float32[shares, draws, held_out], inner float64[shares, rates, decays] (mean AUC of the trials)
    and chosen int[shares, 2], places in the grid.
    """

    def make(folder: Path) -> dict:
        grid = [(rate, decay) for rate in design.rates for decay in design.decays]
        jobs, watched = [], []
        for share in design.shares:
            for trial in range(design.trials):
                fitted, held = parts.inner[trial % len(parts.inner)]
                drawn = stream(design.seed, "imbalance", "inner", parts.fold, trial)
                left = thinned(fitted, labels, share, seed=stream(drawn, "thinned"))
                jobs += [(left, drawn, rate, decay) for rate, decay in grid]
                watched += [held] * len(grid)
        networks = len(jobs) + len(design.shares) * design.draws
        bar = iter(track(range(networks), total=networks, description=f"{name}, fold {parts.fold}"))

        def tell(number: int) -> None:
            for _ in range(number):
                next(bar, None)

        run = trainer()
        found, first = run.scores(contender, jobs, tell=tell)
        shape = (len(design.shares), design.trials, len(design.rates), len(design.decays))
        aucs = [auc(scores[held], labels[held]) for scores, held in zip(found, watched)]
        inner = np.nanmean(np.reshape(aucs, shape), axis=1)
        chosen = [np.unravel_index(np.nanargmax(one), one.shape) for one in inner]
        final = []
        for share, (rate, decay) in zip(design.shares, chosen):
            for draw in range(design.draws):
                drawn = stream(design.seed, "imbalance", parts.fold, draw)
                left = thinned(parts.train, labels, share, seed=stream(drawn, "thinned"))
                final.append((left, drawn, design.rates[rate], design.decays[decay]))
        scores, second = run.scores(contender, final, tell=tell)
        next(bar, None)
        scores = scores[:, parts.held_out].reshape(len(design.shares), design.draws, -1)
        with writing(folder / SCORES) as file:
            np.savez(file, scores=scores, inner=inner, chosen=np.asarray(chosen))
        return {"loss": name, "fold": parts.fold, "networks": networks, "seconds": min(first, second)}

    stage_key = key(
        form=FORM,
        objective=repr(contender.objective),
        fold=parts.fold,
        shares=design.shares,
        draws=design.draws,
        rates=design.rates,
        decays=design.decays,
        trials=design.trials,
        seed=design.seed,
        **made_from,
    )
    what = f"{name}, fold {parts.fold}"
    return Piece(
        Path(parent) / stage_key, what, lambda: made(parent, stage_key, make, what=what, say=say, wait=False)
    )
