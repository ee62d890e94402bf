"""Finished crops to a prepared set: array_record files, the index in the same order, and the contact sheets."""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mammojax.datasets.acquisition import write_acquisitions
from mammojax.datasets.crop import Outcome, pixels_path
from mammojax.datasets.record import INDEX_FILE
from mammojax.datasets.schema import to_example
from mammojax.datasets.sheets import contact_sheet
from mammojax.errors import UserError
from mammojax.images.geometry import Box
from mammojax.runs.files import filling, write_json

DRAWN = 1400  # films on contact sheets, fifty pages: nobody looks at more


def pack(
    builder: type,
    name: str,
    outcomes: Sequence[Outcome],
    folder: Path,
    work: Path,
    *,
    scheme: str,
    depth: int,
    track: Callable,
) -> None:
    """Writes everything of a prepared set into `folder` but the accounts. A killed start's leftovers do not matter.

    builder: of the data set `name`. outcomes: of the files that are used, whose pixels lie in `work`. scheme, depth:
    as in `RecordSet`.
    """
    files = _write_records(builder, name, outcomes, folder, work, track) if outcomes else ""
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


def _write_records(builder, name: str, outcomes, folder: Path, work: Path, track: Callable) -> str:
    for rest in (folder / name).glob("*incomplete*"):
        shutil.rmtree(rest)  # TFDS leaves these after a kill and starts again from nothing
    target = folder / name / str(builder.VERSION)
    if not target.is_dir():  # it is renamed to this when it is whole

        def examples() -> Iterator[tuple[str, dict]]:
            for outcome in track(outcomes, total=len(outcomes), description="packing"):
                record = outcome.record
                with np.load(pixels_path(work, record.record)) as pixels:
                    example = to_example(record, pixels["image"], pixels["tissue"], outcome.lesions)
                yield record.record, example

        try:
            with filling(folder):
                target = builder(data_dir=folder, examples=examples).pack()
        except RuntimeError as error:  # array_record's words for what a disk refuses
            match = re.search(r"\b(?:open|write|close|fsync|mkdir)\(\) failed: ([^;]*)", str(error))
            if not match:
                raise
            raise UserError(
                f"cannot write {folder}: {match[1]}; free space or choose another folder"
            ) from None
    return target.relative_to(folder).as_posix()


def _films(outcomes: Sequence[Outcome], work: Path) -> Iterator[tuple]:
    """What `contact_sheet` takes, captions by number: file names can identify patients."""
    for outcome in outcomes:
        with np.load(pixels_path(work, outcome.record.record)) as kept:
            box = Box(*map(int, kept["small_box"]))
            yield kept["small"], int(kept["small_bits"]), box, kept["small_mask"], str(outcome.record.number)
