"""Does a map of cell scores point at the lesion? The pointing game and the free-response curve, against chance.

A cell counts as inside a lesion if its centre lies in the lesion's circle grown by half a cell. All positions are
(row, column) in pixels of the original file. Networks that score cells were told one label a film and never a circle.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mammojax.evaluation import bootstrap
from mammojax.evaluation.bootstrap import Estimate
from mammojax.evaluation.metrics import Ranking

FALSE_MARKS = (0.25, 0.5, 1.0, 2.0, 4.0)  # an image, at which the free-response curve is read


@dataclass(frozen=True, eq=False)
class Film:
    """One held-out film. record: its number. patient: any name. scores: float[r, c], larger is more suspicious; for the
    free-response curve comparable between films (calibrated). where: bool[r, c], tissue; what is off it does not count.
    centres: float64[r, c, 2]. circles: float64[m, 3] of (row, column, radius), none on a normal film. grown: half the side
    of a cell, pixels.
    """

    record: int
    patient: object
    scores: np.ndarray
    where: np.ndarray
    centres: np.ndarray
    circles: np.ndarray
    grown: float


@dataclass(frozen=True)
class PointingGame:
    """films: with a circle and tissue. hits: of them whose highest cell is inside a circle, ties by their share. rate: hits
    a film. chance: the share of tissue cells inside a circle, mean over films, which a map that knows nothing reaches.
    above_chance: rate minus chance, paired. Intervals: 95%, from resampled patients.
    """

    films: int
    hits: float
    rate: Estimate
    chance: Estimate
    above_chance: Estimate


@dataclass(frozen=True)
class FreeResponse:
    """The share of lesions found at so many false marks an image.

    films: all, lesions: all of them. sensitivity: false marks an image -> share with its 95% interval. curve: (false marks an
    image, share of lesions), float64[d] each, at every threshold from the strictest on.
    """

    films: int
    lesions: int
    sensitivity: dict[float, Estimate]
    curve: tuple[np.ndarray, np.ndarray]


def inside(film: Film) -> np.ndarray:
    """bool[m, r, c]: the cells inside each of the film's circles."""
    circles = np.asarray(film.circles, float).reshape(-1, 3)
    offsets = np.asarray(film.centres, float)[None] - circles[:, None, None, :2]
    return np.hypot(offsets[..., 0], offsets[..., 1]) <= circles[:, 2, None, None] + film.grown


def pointed(film: Film) -> float:
    """Whether the highest tissue cell is inside a circle: 1 or 0; the share of those inside where several are highest."""
    highest = film.where & (film.scores == film.scores[film.where].max())
    return float(inside(film).any(axis=0)[highest].mean())


def by_chance(film: Film) -> float:
    """The share of tissue cells inside a circle: what `pointed` is on average for a cell taken at random."""
    return float(inside(film).any(axis=0)[film.where].mean())


def marks(film: Film) -> np.ndarray:
    """bool[r, c]: tissue cells that none of their eight neighbours exceeds."""
    scores = np.where(film.where, film.scores, -np.inf)
    return film.where & (scores == ndimage.maximum_filter(scores, size=3, mode="constant", cval=-np.inf))


def pointing_game(films: Sequence[Film], *, seed: int, resamples: int = 2000) -> PointingGame:
    """The pointing game over films of one repeat; those without a circle or without tissue are left out."""
    films = [f for f in _ordered(films) if len(np.asarray(f.circles)) and f.where.any()]
    hits, chances = (np.asarray([measure(film) for film in films]) for measure in (pointed, by_chance))
    if not films:
        undefined = Estimate(math.nan, math.nan, math.nan)
        return PointingGame(0, 0.0, undefined, undefined, undefined)
    owner = _owners(films)
    drawn = {"hits": [], "chances": []}
    for weights in _draws(owner, entries=len(films), seed=seed, resamples=resamples):
        of_films = weights[owner]
        for name, values in (("hits", hits), ("chances", chances)):
            drawn[name].append(values @ of_films / of_films.sum(axis=0))
    rate, chance = (np.concatenate(values) for values in drawn.values())
    return PointingGame(
        films=len(films),
        hits=float(hits.sum()),
        rate=bootstrap.proportion(float(hits.mean()), rate),
        chance=bootstrap.proportion(float(chances.mean()), chance),
        above_chance=bootstrap.difference(float(hits.mean() - chances.mean()), rate - chance),
    )


def free_response(
    films: Sequence[Film], *, seed: int, false_marks: Sequence[float] = FALSE_MARKS, resamples: int = 2000
) -> FreeResponse:
    """The free-response curve over films of one repeat, normal ones among them.

    A mark is a local maximum of the map (`marks`) at or above the threshold. A lesion is found by any mark inside it; a mark
    inside no lesion is false. Leave out abnormal films whose lesions were not annotated: their true marks would count
    as false.
    """
    films = _ordered(films)
    owner = _owners(films)
    lesions, scores, found, owners = [], [], [], []  # a lesion stands for its highest mark
    for film, patient in zip(films, owner):
        marked, within = marks(film), inside(film)
        lesions += [patient] * len(within)
        best = [film.scores[marked & lesion].max() for lesion in within if (marked & lesion).any()]
        false = film.scores[marked & ~within.any(axis=0)]
        scores += [*best, *false]
        found += [1] * len(best) + [0] * len(false)
        owners += [patient] * (len(best) + len(false))
    ranking, owners = Ranking(np.asarray(scores, float), np.asarray(found, int)), np.asarray(owners, int)
    lesions = np.asarray(lesions, int)

    def counted(weights: np.ndarray) -> tuple[np.ndarray, ...]:
        """(lesions found [d, r], false marks [d, r], lesions [r], films [r]), from the threshold that calls nothing."""
        true, false = (np.pad(counts, ((1, 0), (0, 0))) for counts in ranking.called(weights[owners]))
        return true, false, weights[lesions].sum(axis=0), weights[owner].sum(axis=0)

    def sensitivities(weights: np.ndarray) -> np.ndarray:
        true, false, of, images = counted(weights)
        most = [np.where(false <= rate * images + 1e-9, true, 0).max(axis=0) for rate in false_marks]
        return np.divide(most, of, out=np.full((len(most), len(of)), np.nan), where=of > 0)

    number = int(owner.max()) + 1 if len(owner) else 0
    once = np.ones((number, 1))
    values = sensitivities(once)[:, 0]
    drawn = [sensitivities(w) for w in _draws(owner, entries=len(scores), seed=seed, resamples=resamples)]
    drawn = np.concatenate(drawn, axis=1)
    true, false, _, _ = counted(once)
    with np.errstate(invalid="ignore"):  # no film or no lesion: nan
        curve = false[:, 0] / np.float64(len(films)), true[:, 0] / np.float64(len(lesions))
    return FreeResponse(
        films=len(films),
        lesions=len(lesions),
        sensitivity={
            rate: bootstrap.proportion(float(value), row)
            for rate, value, row in zip(false_marks, values, drawn)
        },
        curve=curve,
    )


def _ordered(films: Sequence[Film]) -> list[Film]:
    return sorted(films, key=lambda film: film.record)


def _owners(films: Sequence[Film]) -> np.ndarray:
    """int[n]: the films' patients, numbered by their first film, so that their names change nothing."""
    numbers: dict = {}
    return np.asarray([numbers.setdefault(film.patient, len(numbers)) for film in films], int)


def _draws(owner: np.ndarray, **options):
    """Patients drawn from all: films of different folds are looked at together."""
    return bootstrap.resampled(np.zeros(int(owner.max()) + 1 if len(owner) else 0, int), **options)
