"""From what a data set lists to one entry a file, in the order of names, each with its number and its label."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mammojax.datasets.labels import Dropped, label, worst
from mammojax.datasets.patients import identity
from mammojax.datasets.record import Source


@dataclass(frozen=True)
class Entry:
    """One file. number: from 1, by name. verdict: the label, or why the file is left out before it is read; rejected:
    whether that is a fault of the file and no rule."""

    number: int
    source: Source
    verdict: int | Dropped
    rejected: bool = False


def entries(sources: Sequence[Source], scheme: str, part: str = "") -> list[Entry]:
    """One entry a file. A file that is listed in several rows takes the worst of what they say.

    part: of the official split that is used; files outside it are dropped, and not read. "" for everything.
    Names become printable: bytes that are no UTF-8 and control characters are written as `\\xff`.
    """
    rows: dict[str, list[Source]] = {}
    for source in _identified(sources):
        rows.setdefault(printable(source.file), []).append(source)
    return [_entry(number, file, rows[file], scheme, part) for number, file in enumerate(sorted(rows), 1)]


def _identified(sources: Sequence[Source]) -> list[Source]:
    """The sources with one spelling for each patient, and a warning where the table has several."""
    written: dict[str, set[str]] = {}
    for source in filter(lambda source: source.patient, sources):
        written.setdefault(identity(source.patient), set()).add(source.patient)
    found = []
    for source in sources:
        patient, warnings = identity(source.patient), source.warnings
        if len(written.get(patient, ())) > 1:
            warnings += (f"patient: written in {len(written[patient])} ways in the table, taken for one",)
        found.append(replace(source, patient=patient, warnings=warnings))
    return found


def printable(name: str) -> str:
    """A name as text that can be printed, written as UTF-8 and read in one line."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _entry(number: int, file: str, rows: list[Source], scheme: str, part: str) -> Entry:
    source = replace(rows[0], file=file)
    rule = next((row.left_out for row in rows if row.left_out), "")
    if not rule and part and not any(part in row.parts for row in rows) and source.facts is not None:
        rule = f"outside the part {part} of the official split"
    if rule:
        return Entry(number, replace(source, facts=None), Dropped(rule))
    fault = next((row.missing for row in rows if row.missing), "")
    if not fault and len(rows) > 1:
        source, fault = _merged(source, rows)
    if fault:
        return Entry(number, source, Dropped(fault), rejected=True)
    if source.facts is None:
        return Entry(number, source, Dropped("not listed in the data set's table"))
    return Entry(number, source, label(source.facts, scheme))


def _merged(source: Source, rows: list[Source]) -> tuple[Source, str]:
    """The source that several rows describe, and a fault, "" if there is none."""
    if len({row.path for row in rows}) > 1:
        return source, "two files have this name as it is printed; rename one"
    if len({row.patient for row in rows}) > 1:
        return source, f"listed in {len(rows)} rows that name different patients"
    warnings = [warning for row in rows for warning in row.warnings]
    told = {}
    for what in ("breast", "laterality", "view", "spacing"):
        values = sorted({getattr(row, what) for row in rows if getattr(row, what)})
        if len(values) > 1:
            warnings.append(f"{what}: the rows say {' and '.join(map(str, values))}; none is believed")
        told[what] = values[0] if len(values) == 1 else (None if what == "spacing" else "")
    facts = [row.facts for row in rows if row.facts is not None]
    lesions = {str(lesion): lesion for row in rows for lesion in row.lesions}
    if len(set(facts)) > 1:
        warnings.append(f"listed in {len(rows)} rows that differ; the worst of them counts")
    else:
        warnings.append(f"listed in {len(rows)} rows")
    merged = replace(
        source,
        facts=worst(facts) if facts else None,
        lesions=tuple(lesions.values()),
        warnings=tuple(dict.fromkeys(warnings)),
        **told,
    )
    return merged, ""
