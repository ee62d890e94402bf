"""Maps of held-out films: the scores of their cells by networks that were never fitted to their patient.

Read from what a run has left: its cells, the prepared set and the representation cache, found by their keys.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammojax.datasets import samples as sampling
from mammojax.datasets.record import RecordSet
from mammojax.experiment.model import OWN, Model
from mammojax.experiment.predictions import read_predictions
from mammojax.experiment.whole_set import cell_scores
from mammojax.representations.cache import Representations
from mammojax.runs import stages


@dataclass(frozen=True, eq=False)
class FilmMap:
    """One film: its record in the prepared set, its calibrated log-odds, the log-odds of its cells float64[rows, columns]
    (NaN off the breast, see `Model.of_cells`), and the cells' centres float64[rows, columns, 2] in pixels of the crop."""

    record: int
    log_odds: float
    cells: np.ndarray
    centres: np.ndarray


@dataclass(frozen=True, eq=False)
class Reading:
    """Films and who reads them. cell: with the films' predictions. models: folders of the cells whose networks read."""

    cell: Path
    models: tuple[Path, ...]


def prepared_of(folder: Path, cell: Path) -> RecordSet | None:
    """The prepared set that a cell was made from, None if it is not in `folder` any more."""
    found = Path(folder) / stages.finished(cell)["made_from"]["prepared"]
    return RecordSet(found) if stages.finished(found) is not None else None


def scores_cells(cell: Path) -> bool:
    """Whether the networks of a cell of cross-validation score cells, and not maps as a whole."""
    recipe = stages.finished(cell)["recipe"]
    return recipe.get("stage") == "maps" and recipe.get("model.classifier") == "mil"


def film_maps(
    readings: Sequence[Reading], records: RecordSet, representations: Path
) -> Iterator[FilmMap] | None:
    """The maps of all films of the readings' cells; None where the networks score no cells, or where the representations
    are not in the folder `representations` any more."""
    facts = stages.finished(readings[0].cell)["made_from"]
    cache = Path(representations) / facts.get("representations", "absent")
    model = Model(readings[0].models, like=OWN)
    if not model.scores_cells or stages.finished(cache) is None:
        return None
    return _film_maps(readings, model, records, Representations(cache))


def _film_maps(readings, model: Model, records: RecordSet, made: Representations) -> Iterator[FilmMap]:
    place = {record.number: i for i, record in enumerate(records.records)}
    partner = sampling.partner(records)
    for reading in readings:
        facts = stages.finished(reading.cell)["made_from"]
        every = [
            (place[int(row["record"])], float(row["log_odds"])) for row in read_predictions(reading.cell)
        ]
        for k in np.unique(records.sets[[i for i, _ in every]]):
            # of several sets each is read in units of its own
            several = records.set_names[k] if len(records.set_names) > 1 else ""
            own = facts.get("standardise") == "own"
            like = OWN if own else facts.get("like", "") or several
            model = Model(reading.models, network=model.network, like=like)
            if own:
                from mammojax.representations.statistics import ChannelSums

                model.standardise(*ChannelSums(made).of(range(len(records))))
            films = [film for film in every if records.sets[film[0]] == k]
            scores = cell_scores(model, made, [i for i, _ in films], partner)
            for (i, log_odds), cells in zip(films, scores):
                record = records.records[i]
                yield FilmMap(i, log_odds, cells, model.cell_centres((record.height, record.width)))
