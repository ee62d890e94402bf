"""Several prepared sets read as one, to be trained together: no pixel is copied, and nothing of a set is changed.

A record keeps its set. Names, patients and breasts are those of the set with its name before them, so that two sets can
never share one; numbers go on where those of the set before end, files that were not used included.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from mammojax.datasets import accounts
from mammojax.datasets.acquisition import FILE as ACQUISITION_FILE
from mammojax.datasets.record import INDEX_FILE, Record, RecordSet
from mammojax.errors import UserError
from mammojax.runs import stages
from mammojax.runs.files import read_json, write_json

FORM = 1  # raise when joining changes what a record holds


def joined(sets: Sequence[RecordSet], directory: Path, *, say: Callable[[str], None]) -> RecordSet:
    """One set of the records of all `sets`, set after set; made or reused in `directory`, where they must lie too.

    Raises UserError where 16-bit rasters of two sets were read at different depths: a network would see two scales.
    """
    depths = {one.depth for one in sets if one.depth}
    if len(depths) > 1:
        read = " and ".join(f"{one.name} at {one.depth} bits" for one in sets if one.depth)
        raise UserError(
            f"16-bit PNG, TIFF and PGM files are read at different depths: {read}; state one with config.data.depth"
        )
    keys = [one.directory.name for one in sets]
    if len(set(keys)) < len(keys):
        raise UserError("config.data.also names a set twice, or the one of config.data.name; leave it out")
    names = _names([one.name for one in sets])
    ledgers = [accounts.read_accounts(one.directory) for one in sets]
    first = [sum(map(len, ledgers[:k])) for k in range(len(sets))]

    def make(folder: Path) -> dict:
        records = [
            _of_set(record, name, start)
            for one, name, start in zip(sets, names, first)
            for record in one.records
        ]
        ledger = [
            dataclasses.replace(account, number=account.number + start, file=f"{name}/{account.file}")
            for of, name, start in zip(ledgers, names, first)
            for account in of
        ]
        accounts.write_accounts(folder, ledger)
        write_json(folder / ACQUISITION_FILE, [film for one in sets for film in _films(one)])
        write_json(
            folder / INDEX_FILE,
            {
                "name": " + ".join(names),
                "scheme": " + ".join(one.scheme for one in sets),
                "depth": max(depths, default=0),
                "files": "",
                "records": [record.to_json() for record in records],
                "sets": [[name, key, len(one)] for name, key, one in zip(names, keys, sets)],
            },
        )
        return {"dataset": " + ".join(names), "counts": accounts.counts(ledger)}

    key = stages.key(sets=keys, names=names, form=FORM)
    return RecordSet(stages.made(Path(directory), key, make, what=f"joined set {key}", say=say))


def _names(names: Sequence[str]) -> list[str]:
    """A name a set: a second `folder` is `folder 2`."""
    return [
        name if name not in names[:k] else f"{name} {1 + list(names[:k]).count(name)}"
        for k, name in enumerate(names)
    ]


def _of_set(record: Record, name: str, start: int) -> Record:
    own = {field: f"{name}/{getattr(record, field)}" for field in ("record", "patient", "breast")}
    return dataclasses.replace(record, number=record.number + start, **own)


def _films(one: RecordSet) -> list[dict]:
    return read_json(stages.verified(one.directory, ACQUISITION_FILE))
