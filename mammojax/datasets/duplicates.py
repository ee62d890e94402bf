"""The same picture in several files, and one patient of the headers under several names of the table."""

from collections.abc import Sequence
from dataclasses import replace

from mammojax.datasets.outcome import Outcome


def resolved(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], dict[int, str], list[str]]:
    """(outcomes to keep, number of a file to the reason why it is left out, notes to be said once).

    Files of the same decoded pixels and one patient are one picture: it is kept once, with the largest label. Under several
    patients nobody knows whose it is: all are kept, with a warning, and `folds` refuses to part them.
    """
    kept = {o.record.number: o for o in outcomes}
    left_out: dict[int, str] = {}
    shared = contradicting = 0
    for group in _groups(outcomes, lambda o: o.acquisition["pixels"]):
        for same in _groups(group, lambda o: o.record.patient):
            best = max(same, key=lambda o: (o.record.label, -o.record.number))
            for other in same:
                if other is best:
                    continue
                number = other.record.number
                left_out[number] = "the same picture as another file of the patient"
                del kept[number]
                differs = ", whose label differs; the larger one counts" * (
                    other.record.label != best.record.label
                )
                contradicting += bool(differs)
                _warn(kept, best, f"the same picture as file {number}{differs}")
        mine = [o for o in group if o.record.number in kept]
        if len(mine) > 1:
            shared += 1
            numbers = [o.record.number for o in mine]
            labels = " and with different labels" * (len({o.record.label for o in mine}) > 1)
            for o in mine:
                others = ", ".join(str(n) for n in numbers if n != o.record.number)
                _warn(kept, o, f"the same picture under several patients{labels}: see file {others}")
    split, joined = _joined_by_headers(kept), _joined_by_table(kept)
    notes = []
    if contradicting:
        notes.append(
            f"{contradicting} files hold a picture of the same patient with another label; the larger counts"
        )
    if shared:
        notes.append(f"{shared} pictures lie under several patients; see the warnings in accounts.csv")
    if split:
        notes.append(
            f"{split} patients of the headers are several in the table; see the warnings in accounts.csv"
        )
    if joined:
        notes.append(
            f"{joined} patients of the table are several in the headers: is its column the patient's?"
        )
    patients = {o.record.patient for o in kept.values()}
    if len(patients) == len(kept) > 2:
        notes.append(
            f"each of {len(kept)} pictures is the only one of its patient: is it the patient who is named, and not the picture?"
        )
    return [kept[number] for number in sorted(kept)], left_out, notes


def _joined_by_headers(kept: dict[int, Outcome]) -> int:
    """Warns where files of one patient by their headers are of several by the table; the number of such patients.

    Headers that all name the same patient name nobody.
    """
    told = [o for o in kept.values() if o.header_patient]
    groups = list(_groups(told, lambda o: o.header_patient))
    if len(groups) < 2:
        return 0
    joined = [group for group in groups if len({o.record.patient for o in group}) > 1]
    for group in joined:
        for o in group:
            _warn(
                kept,
                o,
                "patient: the table tells this file's patient from that of others with the same header",
            )
    return len(joined)


def _joined_by_table(kept: dict[int, Outcome]) -> int:
    """Warns where files of one patient by the table are of several by their headers; the number of such patients.

    Headers that name every file another way name files, no patients.
    """
    told = [o for o in kept.values() if o.header_patient]
    if len({o.header_patient for o in told}) == len(told):
        return 0
    joined = [
        group
        for group in _groups([o for o in told if o.patient_from == "table"], lambda o: o.record.patient)
        if len({o.header_patient for o in group}) > 1
    ]
    for group in joined:
        for o in group:
            _warn(kept, o, "patient: the table gives several patients of the headers this file's patient")
    return len(joined)


def _warn(kept: dict[int, Outcome], outcome: Outcome, warning: str) -> None:
    number = outcome.record.number
    record = kept[number].record
    kept[number] = replace(kept[number], record=replace(record, warnings=(*record.warnings, warning)))


def _groups(outcomes: Sequence[Outcome], by) -> list[list[Outcome]]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(by(outcome), []).append(outcome)
    return list(groups.values())
