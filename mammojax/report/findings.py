"""Findings beside the table: where the maps point, and what acquisition alone would tell. Each is a small table of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from mammojax.evaluation.bootstrap import Estimate
from mammojax.evaluation.localisation import Film, FreeResponse, free_response, pointing_game
from mammojax.evaluation.predictions import Predictions
from mammojax.evaluation.shortcuts import within_groups
from mammojax.report.table import plain, rows, written


@dataclass(frozen=True)
class Finding:
    """heading, heads and rows (text) of a table, a note on how to read it, and the same as a JSON value."""

    heading: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
    value: dict

    def markdown(self) -> str:
        """The finding as a section of table.md."""
        table = rows(self.heads[0], self.heads[1:], ((row[0], row[1:]) for row in self.rows))
        return "\n".join([f"**{self.heading}**", "", *table, "", self.note, ""])


@dataclass(frozen=True, eq=False)
class Acquisition:
    """How the films were taken. names: of the facts. facts: float[m, k], a row for each record in rising order of its
    number, NaN where unknown. groups: a name for each record, such as its detector.
    """

    names: tuple[str, ...]
    facts: np.ndarray
    groups: Sequence[str]


def pointing(films: Sequence[Film], *, title: str, seed: int, resamples: int) -> tuple[Finding, FreeResponse]:
    """Where the maps of an arm (its title) point, and the free-response curve. films: held-out films of one repeat."""
    game = pointing_game(films, seed=seed, resamples=resamples)
    response = free_response(films, seed=seed, resamples=resamples)
    lines = [
        ("Films whose highest cell is inside a circle", f"{game.hits:g} of {game.films}"),
        ("Their share", written(game.rate)),
        ("By chance: share of tissue that the circles cover", written(game.chance)),
        ("Share minus chance, paired", written(game.above_chance, signed=True)),
        *(
            (f"Lesions found at {rate:g} false marks an image", written(estimate))
            for rate, estimate in response.sensitivity.items()
        ),
    ]
    note = (
        f"{title}, held-out films of one repeat: {response.films} films, {response.lesions} annotated lesions. A cell is inside "
        "a circle if its centre is, the circle grown by half a cell. A mark is a local maximum of the map. In brackets: 95% "
        "intervals from resampled patients."
    )
    value = {
        "pointing_game": asdict(game),
        "free_response": {
            "films": response.films,
            "lesions": response.lesions,
            "sensitivity": {f"{rate:g}": asdict(estimate) for rate, estimate in response.sensitivity.items()},
        },
    }
    return Finding("Where it looks", ("", "Found"), tuple(lines), note, plain(value)), response


def shortcuts(
    predictions: Mapping[str, Predictions],
    acquisition: Acquisition,
    *,
    titles: Mapping[str, str],
    seed: int,
    resamples: int,
) -> Finding:
    """Every arm's AUC by image within groups of films that were taken alike, beside what its overall pooled AUC is in the
    table."""
    found = {
        arm: within_groups(p, acquisition.groups, seed=seed, resamples=resamples)
        for arm, p in predictions.items()
    }
    first = next(iter(found.values()))
    heads = tuple(
        f"{name}: {images} images ({positives} positive)"
        for name, (_, images, positives) in first.groups.items()
    )
    lines = tuple(
        (titles[arm], *_texts([within.together, *(estimate for estimate, _, _ in within.groups.values())]))
        for arm, within in found.items()
    )
    note = (
        "AUC of images within groups of films that were taken alike, all folds ranked together; the first column counts the "
        "pairs of one group alone, so that no difference between groups adds to it. In brackets: 95% intervals from "
        "resampled patients."
    )
    value = {
        arm: {
            "together": asdict(within.together),
            "groups": {
                name: {**asdict(estimate), "images": images, "positives": positives}
                for name, (estimate, images, positives) in within.groups.items()
            },
        }
        for arm, within in found.items()
    }
    return Finding(
        "Within groups of acquisition", ("Arm", "Within groups", *heads), lines, note, plain(value)
    )


def _texts(estimates: Sequence[Estimate]) -> list[str]:
    return [written(estimate) for estimate in estimates]
