"""Finished crops to a prepared set: the records, the index in the same order, and the contact sheets."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mammojax.datasets.acquisition import write_acquisitions
from mammojax.datasets.outcome import Outcome, pixels_path
from mammojax.datasets.record import INDEX_FILE
from mammojax.datasets.shards import write_shards
from mammojax.datasets.sheets import contact_sheet
from mammojax.images.geometry import Box
from mammojax.runs.files import filling, write_json

DRAWN = 1400  # films on contact sheets, fifty pages: nobody looks at more


def pack(
    name: str,
    outcomes: Sequence[Outcome],
    folder: Path,
    work: Path,
    *,
    scheme: str,
    depth: int,
    workers: int,
    track: Callable,
) -> None:
    """Writes everything of the prepared set `name` into `folder` but the accounts. A killed start's leftovers do not
    matter.

    outcomes: of the files that are used, whose pixels lie in `work`. scheme, depth: as in `RecordSet`. workers, track:
    as in `prepare`.
    """
    files = ""
    if outcomes:
        target = write_shards(name, outcomes, folder, work, workers=workers, track=track)
        files = target.relative_to(folder).as_posix()
    records = [outcome.record.to_json() for outcome in outcomes]
    write_json(
        folder / INDEX_FILE,
        {"name": name, "scheme": scheme, "depth": depth, "files": files, "records": records},
    )
    write_acquisitions(folder, [outcome.acquisition for outcome in outcomes])
    with filling(folder):
        contact_sheet(_films(sampled(outcomes), work), folder / "contact_sheets")


def sampled(films: Sequence) -> Sequence:
    """Those that are drawn on contact sheets: all, or, of more than `DRAWN`, so many at equal distances."""
    if len(films) <= DRAWN:
        return films
    return [films[i * len(films) // DRAWN] for i in range(DRAWN)]


def _films(outcomes: Sequence[Outcome], work: Path) -> Iterator[tuple]:
    """What `contact_sheet` takes, captions by number: file names can identify patients."""
    for outcome in outcomes:
        with np.load(pixels_path(work, outcome.record.record)) as kept:
            box = Box(*map(int, kept["small_box"]))
            yield kept["small"], int(kept["small_bits"]), box, kept["small_mask"], str(outcome.record.number)
