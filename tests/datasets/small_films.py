"""Folders of small films with a table, prepared in one line."""

from distributions import film
from PIL import Image

from mammojax.datasets import accounts
from mammojax.datasets.prepare import prepare
from mammojax.datasets.record import RecordSet

TABLE = "path,patient,label,laterality,view\n"
OPTIONS = {
    "csv": "",
    "path": "path",
    "patient": "patient",
    "label": "label",
    "birads": "birads",
    "laterality": "laterality",
    "view": "view",
    "split": "split",
    "keep_split": "",
}


def little(tmp_path, rows, pictures=None, name="source"):
    """A folder of 24 x 16 pictures. rows: of the table; pictures: name to seed of its noise, default one a row."""
    source = tmp_path / name
    source.mkdir()
    files = pictures if pictures is not None else {row.partition(",")[0]: k for k, row in enumerate(rows)}
    for file, seed in files.items():
        Image.fromarray(film(seed, height=24)).save(source / file, format="PNG")
    (source / "table.csv").write_text(TABLE + "\n".join(rows) + "\n")
    return source


FOUR = ["a.png,p0,1,L,CC", "b.png,p0,0,R,CC", "c.png,p1,0,L,CC", "d.png,p2,1,L,CC"]


def prepared(folder, to="prepared", **options) -> RecordSet:
    settings = {"options": OPTIONS, "labels": "label"} | options
    return prepare("folder", folder, folder.parent / to, **settings)


def ledger_of(records) -> dict[str, accounts.Account]:
    return {a.file: a for a in accounts.read_accounts(records.directory)}


def facts_of(records) -> list:
    return [(r.record, r.number, r.sha256, r.label, r.geometry) for r in records.records]
