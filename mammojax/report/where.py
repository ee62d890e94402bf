"""Where a run's proposed arm looks: its maps of held-out films as `evaluation.localisation` and `heat_maps` take them."""

from collections.abc import Sequence

import numpy as np

from mammojax.datasets.prepare import builder_class
from mammojax.datasets.record import RecordSet
from mammojax.evaluation.localisation import Film
from mammojax.experiment.held_out import FilmMap
from mammojax.images.geometry import Geometry
from mammojax.report.heat_maps import MappedFilm, extremes, heat_maps
from mammojax.report.html import Picture


def needs_maps(records: RecordSet) -> bool:
    """Whether a report has a use for maps of this set: its films may be shown, or have annotated lesions."""
    return any(_may_be_shown(records)) or any(len(circles_of(records, i)) for i in range(len(records)))


def _may_be_shown(records: RecordSet) -> list[bool]:
    """Of each set that the records are of, whether its terms let films be shown."""
    return [builder_class(one.name).MAY_BE_SHOWN for one in records.parts or (records,)]


def films_of(maps: Sequence[FilmMap], records: RecordSet) -> list[Film]:
    """Films for the pointing game and the free-response curve, none if no positive film has an annotated circle.

    Circles of negative films (benign findings, where malignant ones are looked for) count as no lesion; positive films
    without a circle are left out, since their true marks would count as false.
    """
    patients, labels = records.patients, records.labels
    circles = {m.record: circles_of(records, m.record) for m in maps}
    if not any(map(len, circles.values())):
        return []
    films = []
    for m in maps:
        if labels[m.record] and not len(circles[m.record]):
            continue
        geometry = Geometry.from_json(records.records[m.record].geometry)
        centres = geometry.to_original(m.centres.reshape(-1, 2)).reshape(m.centres.shape)
        where = ~np.isnan(m.cells)
        films.append(
            Film(
                record=records.records[m.record].number,
                patient=int(patients[m.record]),
                scores=np.where(where, m.cells, -np.inf),
                where=where,
                centres=centres,
                circles=circles[m.record],
                grown=half_cell(m.centres, records.records[m.record], geometry),
            )
        )
    return films


def circles_of(records: RecordSet, i: int) -> np.ndarray:
    """float64[m, 3]: (row, column, radius) of a positive film's lesions, pixels of the original; none of a negative one."""
    if not records.records[i].label:
        return np.empty((0, 3))
    found = [[lesion[name] for name in ("row", "column", "radius")] for lesion in records.lesions(i)]
    return np.asarray(found, float).reshape(-1, 3)


def half_cell(centres: np.ndarray, record, geometry: Geometry) -> float:
    """Half the side of a cell in pixels of the original, the mean of both sides; the crop's where an axis has one cell."""
    sides = []
    for axis, side in enumerate((record.height, record.width)):
        along = np.diff(centres[..., axis], axis=axis)
        pitch = float(along.mean()) if along.size else float(side)
        sides.append(abs(geometry.scale[axis]) * pitch / 2)
    return float(np.mean(sides))


def panels(maps: Sequence[FilmMap], records: RecordSet, *, each: int = 2) -> list[Picture]:
    """Held-out films with the highest and lowest scores of each class, if the terms of their set let them be shown."""
    shown = _may_be_shown(records)
    maps = [m for m in maps if shown[records.sets[m.record]]]
    if not maps:
        return []
    labels = records.labels[[m.record for m in maps]]
    chosen = extremes(np.asarray([m.log_odds for m in maps]), labels, each=each)
    groups = {heading: [_drawn(maps[k], records) for k in places] for heading, places in chosen.items()}
    caption = (
        "Held-out films beside themselves with the scores of their cells, by networks that were not trained on the patient. "
        "Light cells speak for a positive film; the square is the highest cell, the dashed ellipse the annotated lesion, "
        "which training does not see."
    )
    return [Picture("Heat maps", caption, heat_maps(groups, may_be_shown=True))]


def _drawn(m: FilmMap, records: RecordSet) -> MappedFilm:
    record = records.records[m.record]
    where = ~np.isnan(m.cells)
    return MappedFilm(
        record=record.number,
        label=record.label,
        score=m.log_odds,
        image=records.image(m.record),
        cells=np.where(where, m.cells, 0.0),
        where=where,
        centres=m.centres,
        geometry=Geometry.from_json(record.geometry),
        circles=circles_of(records, m.record),
    )
