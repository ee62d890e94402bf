"""What gets one score: an image, a breast (all its images) or a patient; and which images belong side by side.

A record is one image. Classifiers score records; a sample's score is made of its members' scores, its label is the
largest of theirs, since a report of a breast or a patient is as bad as the worst that was seen.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mammojax.datasets.record import Record, RecordSet
from mammojax.errors import UserError

LEVELS = ("image", "breast", "patient")
_STANDARD = {"CC": "MLO", "MLO": "CC"}  # the two views of a screening exam


@dataclass(frozen=True, eq=False)
class Samples:
    """n samples of one level, in the order of their first records.

    names: unique; a patient's and a breast's are made of numbers. members: int64[k] each, the record numbers, ascending.
    labels: int32[n] in {0, 1}. patients: int64[n], as in `RecordSet.patients`.
    """

    names: tuple[str, ...]
    members: tuple[np.ndarray, ...]
    labels: np.ndarray
    patients: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


def samples(records: RecordSet, level: str) -> Samples:
    """The samples of a prepared set. level: one of `LEVELS`.

    An image whose breast is not known (no side in table or header) is a breast of its own.
    """
    if level not in LEVELS:
        raise UserError(f"unknown sample {level!r}; choose one of {', '.join(LEVELS)}")
    patients, labels = records.patients, records.labels
    breasts = [(int(p), r.breast) for p, r in zip(patients, records.records)]
    identities = {"image": range(len(records)), "breast": breasts, "patient": [int(p) for p in patients]}
    members = _grouped(identities[level])
    firsts = [group[0] for group in members]
    return Samples(
        names=tuple(_names(records, level, patients[firsts], firsts)),
        members=tuple(np.asarray(group, np.int64) for group in members),
        labels=np.asarray([labels[group].max() for group in members], np.int32),
        patients=np.asarray(patients[firsts], np.int64),
    )


def partner(records: RecordSet) -> np.ndarray:
    """int64[n]: the record of the same view of the patient's other breast, -1 where there is none.

    Images of unknown breast or view have none. Of several exposures the k-th goes with the k-th of the other breast, or
    with its last if it has fewer.
    """

    def matches(mine: Record, other: Record) -> bool:
        return other.view == mine.view and other.breast != mine.breast

    return _matched(records, matches)


def other_view(records: RecordSet) -> np.ndarray:
    """int64[n]: the record of the other view of the same breast, -1 where there is none.

    CC goes with MLO and MLO with CC; only where that is absent, and for all other views, with any different view.
    Unknown breasts and views, and several exposures, as in `partner`.
    """

    def standard(mine: Record, other: Record) -> bool:
        return other.breast == mine.breast and other.view == _STANDARD.get(mine.view)

    def different(mine: Record, other: Record) -> bool:
        return other.breast == mine.breast and other.view != mine.view

    first, second = _matched(records, standard), _matched(records, different)
    return np.where(first >= 0, first, second)


def _matched(records: RecordSet, matches: Callable[[Record, Record], bool]) -> np.ndarray:
    """int64[n]: for each record one of the same patient that matches, by its rank among its own exposures."""
    found = np.full(len(records), -1, np.int64)
    for patient in _grouped([int(p) for p in records.patients]):
        known = [(i, records.records[i]) for i in patient if _is_known(records.records[i])]
        for i, mine in known:
            others = [j for j, other in known if matches(mine, other)]
            alike = [j for j, other in known if (other.breast, other.view) == (mine.breast, mine.view)]
            if others:
                found[i] = others[min(alike.index(i), len(others) - 1)]
    return found


def _is_known(record: Record) -> bool:
    return bool(record.view) and bool(record.laterality or record.breast_stated)


def _grouped(identities) -> list[list[int]]:
    """The positions of equal identities, groups in the order of their first positions."""
    groups: dict[object, list[int]] = {}
    for i, identity in enumerate(identities):
        groups.setdefault(identity, []).append(i)
    return list(groups.values())


def _names(records: RecordSet, level: str, patients: np.ndarray, firsts: list[int]) -> list[str]:
    if level == "image":
        return [records.records[i].record for i in firsts]
    names = [f"patient {p + 1}" for p in patients]
    if level == "patient":
        return names
    seen: dict[str, int] = {}
    for k, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        names[k] = f"{name}, breast {seen[name]}"
    return names
