"""The built-in phantom screening set: real DICOM files of synthetic mammograms, made on the spot."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

from mammojax.datasets.builder import MammogramBuilder
from mammojax.datasets.labels import Facts
from mammojax.datasets.record import Source
from mammojax.errors import UserError
from mammojax.runs.stages import key, made

_OWN = re.compile(r"\.?[0-9a-f]{16}(\.|$)")  # a set, its lock, or a damaged one that was set aside


class Phantom(MammogramBuilder):
    """Synthetic mammograms with malignant signs in positives only; every nuisance is drawn alike for both classes."""

    SCHEMES = ("malignant",)
    HOW = "it is made by the program; give an empty or absent folder as --config.data.source"
    MAY_BE_SHOWN = True  # nobody's films

    @staticmethod
    def find(
        source: Path,
        workspace: Path,
        *,
        patients: int,
        prevalence: float,
        seed: int,
        height: int,
        width: int,
        difficulty: float,
        workers: int = 0,
        track: Callable | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> list[Source]:
        """See `MammogramBuilder.find`. Makes the files under `source` unless this very set is there already.

        prevalence: share of patients with a malignant lesion. difficulty: 0 (obvious) to 1 (invisible).
        """
        made_with = {
            "patients": patients,
            "prevalence": prevalence,
            "seed": seed,
            "height": height,
            "width": width,
            "difficulty": difficulty,
        }

        def make(folder: Path) -> dict:
            from mammojax.phantom.dicom import (
                write_phantom_set,
            )  # loads pydicom: seconds, where nothing is made

            write_phantom_set(folder, **made_with, workers=workers, progress=track)
            return made_with

        if source.exists() and any(not _OWN.match(p.name) for p in source.iterdir()):
            raise UserError(f"{source} holds other files than phantoms; {Phantom.HOW}")
        made_key = key(**made_with, form=1)
        folder = made(source, made_key, make, what=f"phantom set {made_key}", say=say, mirrored=False)
        with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [
            Source(
                file=row["file"],
                path=folder / row["file"],
                patient=row["patient"],
                laterality=row["laterality"],
                view=row["view"],
                facts=Facts(malignant=row["label"] == "1"),
                lesions=tuple(json.loads(row["lesions"])),
                missing=""
                if (folder / row["file"]).is_file()
                else "listed in labels.csv, but the file is absent",
            )
            for row in rows
        ]
