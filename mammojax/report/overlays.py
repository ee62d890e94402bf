"""The maps of new files: a picture and the values of each."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mammojax.experiment.predict import FileMap
from mammojax.report.heat_maps import MappedFilm, overlay
from mammojax.runs.files import writing


def write_overlays(folder: Path, maps: Iterable[FileMap]) -> int:
    """Writes NUMBER.png and NUMBER.npz of every map into `folder`; how many. NUMBER: of the file's row in the CSV, from 1.

    The picture is the crop beside itself with its map, the highest cell framed. The arrays: scores float64[r, c], calibrated
    log-odds of a film whose suspicious cells were all like this one, NaN off the breast; centres float64[r, c, 2], (row,
    column) of the cells in pixels of the crop; scale, offset float64[2], to pixels of the original file: original = scale *
    crop + offset.
    """
    written = 0
    for found in maps:
        where = ~np.isnan(found.scores)
        film = MappedFilm(
            record=found.number + 1,
            label=0,
            score=0.0,
            image=found.picture,
            cells=np.where(where, found.scores, 0.0),
            where=where,
            centres=found.centres,
            geometry=found.geometry,
            circles=np.empty((0, 3)),
        )
        name = f"{found.number + 1:05d}"
        with writing(Path(folder) / f"{name}.png") as file:
            file.write(overlay(film))
        with writing(Path(folder) / f"{name}.npz") as file:
            np.savez(
                file,
                scores=found.scores,
                centres=found.centres,
                scale=np.asarray(found.geometry.scale),
                offset=np.asarray(found.geometry.offset),
            )
        written += 1
    return written
