"""RSNA Screening Mammography (2023): 54,706 digital images of 11,913 patients, cancer by biopsy of each breast."""

from collections.abc import Callable
from pathlib import Path

from mammojax.datasets.builder import MammogramBuilder
from mammojax.datasets.labels import facts_of
from mammojax.datasets.layout import ByImage, copy_note, files_below, opened, pictures, plain, stem
from mammojax.datasets.record import Source
from mammojax.datasets.table import Row, read_table
from mammojax.errors import UserError
from mammojax.images.views import VIEWS, side_of

_COLUMNS = ("patient_id", "image_id", "laterality", "view", "cancer")


class Rsna(MammogramBuilder):
    """RSNA Screening Mammography Breast Cancer Detection: full-field digital mammograms; non-commercial use."""

    SCHEMES = ("malignant",)
    HOW = (
        "accept the rules of Kaggle's rsna-breast-cancer-detection, download it and give the folder that holds "
        "train.csv and train_images; copies as PNG or JPEG named image or patient_image are taken too"
    )
    SIGN = r"(^|/)train_images/\d+/\d+\.\w+$"

    @staticmethod
    def find(
        source: Path,
        workspace: Path,
        *,
        workers: int = 0,
        track: Callable | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> list[Source]:
        """See `MammogramBuilder.find`. The label is of the breast: cancer 1 where a biopsy proved it. Images of the
        competition's test set have no label and are left out as unlisted."""
        source = opened(source, workspace, say=say)
        names = list(files_below(source))
        name = next((n for n in names if Path(n).name.lower() == "train.csv"), "")
        table = read_table(source / name) if name else None
        if table is None or not set(_COLUMNS) <= set(table.columns):
            lacking = f"train.csv with {', '.join(_COLUMNS)}" if name else "train.csv"
            raise UserError(f"{source} is not the RSNA set: {lacking} is absent; {Rsna.HOW}")
        by_image = ByImage((stem(picture).rpartition("_")[2], picture) for picture in pictures(source, names))
        found = []
        for row in table.rows:
            found += _sources(source, row, by_image.files(row.values["image_id"]))
        return [*found, *(Source(name, source / name, "", None) for name in by_image.unlisted())]


def _sources(root: Path, row: Row, files: list[str]) -> list[Source]:
    values = row.values
    view = values["view"].upper()
    warnings = () if view in VIEWS else ("view: the table's is none that is known",)
    if plain(values.get("implant", "")) == "1":
        of = (
            "the patient" if plain(values.get("site_id", "")) == "1" else "the breast"
        )  # as the publishers say of site 1
        warnings += (f"breast implant of {of}, by the table",)
    site, machine = values.get("site_id", ""), values.get("machine_id", "")
    missing = "" if files else "listed in train.csv, but the file is absent"
    return [
        Source(
            file=name,
            path=root / name,
            patient=values["patient_id"],
            laterality=side_of(values["laterality"]),
            view=view if view in VIEWS else "",
            facts=facts_of(values["cancer"]),
            missing=missing,
            warnings=(*copy_note(root / name), *warnings),
            left_out=""
            if name in files[:1] or missing
            else "a copy of an image that is there in a better form",
            device=f"site {site}, machine {machine}" if machine else "",
        )
        for name in files or [f"train_images/{plain(values['patient_id'])}/{plain(values['image_id'])}.dcm"]
    ]
