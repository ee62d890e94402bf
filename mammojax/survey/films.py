"""The films of a prepared set as a table of facts: what they are counted by, and what could be a shortcut."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from mammojax.datasets.acquisition import Acquisition, read_acquisitions
from mammojax.datasets.record import Record, RecordSet

LEVELS = 8  # values of a category that are told apart; the rarest become one
UNKNOWN = "not known"


@dataclass(frozen=True, eq=False)
class Films:
    """n films in the order of the records.

    labels: int32[n]. patients: int64[n]. numbers: int64[n], of the files. measured: float[n] by name, NaN where unknown.
    named: a word each, by name. histograms: float[n, BINS], shares of the breast's pixels. pixels: digests of the decoded
    pictures.
    """

    labels: np.ndarray
    patients: np.ndarray
    numbers: np.ndarray
    measured: dict[str, np.ndarray]
    named: dict[str, list[str]]
    histograms: np.ndarray
    pixels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


SHORTCUTS = (
    "file",
    "device",
    "inverted",
    "burned-in letters",
    "implant",
)  # of `named`, beside all of `measured`


def films_of(records: RecordSet) -> Films:
    """Raises UserError for a set that an earlier version prepared."""
    taken = read_acquisitions(records.directory)
    pairs = list(zip(records.records, taken, strict=True))
    return Films(
        labels=records.labels,
        patients=records.patients,
        numbers=np.asarray([record.number for record, _ in pairs], np.int64),
        measured={
            "rows": _numbers(pairs, lambda record, film: film.rows),
            "columns": _numbers(pairs, lambda record, film: film.columns),
            "bits": _numbers(pairs, lambda record, film: record.bits),
            "mm a pixel": _numbers(pairs, lambda record, film: record.spacing and record.spacing[0]),
            "grey of the background": _numbers(pairs, lambda record, film: film.background),
            "bright marks beside the breast": _numbers(pairs, lambda record, film: film.marks),
            "brightness of the border": _numbers(pairs, lambda record, film: film.border),
        },
        named={
            "view": _words(pairs, lambda record, film: record.view),
            "side": _words(pairs, lambda record, film: record.laterality),
            "device": _words(pairs, lambda record, film: film.device),
            "file": _words(pairs, lambda record, film: film.form),
            "bits": _words(pairs, lambda record, film: f"{record.bits}"),
            "size": _words(pairs, lambda record, film: f"{film.rows} x {film.columns}"),
            "inverted": _words(pairs, lambda record, film: "yes" if film.inverted else "no"),
            "burned-in letters": _words(
                pairs, lambda record, film: "declared" if film.burned_in else "not declared"
            ),
            "implant": _words(pairs, lambda record, film: "told of" if film.implant else "not told of"),
        },
        histograms=np.asarray([film.histogram for film in taken], float),
        pixels=tuple(film.pixels for film in taken),
    )


def _numbers(pairs: list[tuple[Record, Acquisition]], of) -> np.ndarray:
    values = [of(record, film) for record, film in pairs]
    return np.asarray([np.nan if value is None else value for value in values], float)


def _words(pairs: list[tuple[Record, Acquisition]], of) -> list[str]:
    """The word of each film; all but the most frequent ones are `others`."""
    words = [of(record, film) or UNKNOWN for record, film in pairs]
    counted = Counter(words)
    if len(counted) <= LEVELS:
        return words
    common = {word for word, _ in counted.most_common(LEVELS - 1)}
    return [word if word in common else "others" for word in words]


def indicators(films: Films) -> tuple[list[str], np.ndarray]:
    """(names, float[n, k]) of what could be a shortcut: numbers as they are, each word of a category as 0 or 1.

    What is the same for all films is left out.
    """
    columns = dict(films.measured)
    for name in SHORTCUTS:
        for word in sorted(set(films.named[name])):
            columns[f"{name}: {word}"] = np.asarray([w == word for w in films.named[name]], float)
    varying = {
        name: values
        for name, values in columns.items()
        if len(np.unique(values[~np.isnan(values)])) > 1 or 0 < np.isnan(values).sum() < len(values)
    }
    return list(varying), np.stack([*varying.values()], axis=1) if varying else np.empty((len(films), 0))
