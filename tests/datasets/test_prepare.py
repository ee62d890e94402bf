"""Preparation: every file accounted for, resumable, one bad file never stops the rest."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from mammojax.datasets import accounts
from mammojax.datasets import prepare as module
from mammojax.datasets.prepare import prepare
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError
from mammojax.images.geometry import Geometry

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


def film(seed: int, side: str = "left") -> np.ndarray:
    """uint16[240, 160]: a half-ellipse of 12-bit tissue at the chest wall."""
    rows, columns = np.mgrid[:240, :160]
    breast = (rows - 120) ** 2 / 90**2 + columns**2 / 110**2 < 1
    noise = np.random.default_rng(seed).normal(2000, 150, breast.shape)
    picture = np.where(breast, noise, 20).astype(np.uint16)
    return picture if side == "left" else picture[:, ::-1].copy()


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    rows = []
    for k in range(6):
        Image.fromarray(film(k, "left" if k % 2 else "right")).save(source / f"film{k}.png")
        rows.append(f"film{k}.png,p{k // 2},{int(k < 2)},{'L' if k % 2 else 'R'},CC")
    (source / "broken.png").write_bytes((source / "film0.png").read_bytes()[:300])
    rows += ["broken.png,p9,0,L,CC", "absent.png,p9,0,L,CC", "film1.png,p0,1,L,CC", "film3.txt,p1,,L,CC"]
    (source / "film3.txt").write_text("no label")
    Image.fromarray(film(9)).save(source / "unlisted.png")
    (source / "table.csv").write_text(TABLE + "\n".join(rows) + "\n")
    return source


def prepared(folder, **options) -> RecordSet:
    settings = {"options": OPTIONS, "labels": "label"} | options
    return prepare("folder", folder, folder.parent / "prepared", **settings)


def test_every_file_is_used_dropped_or_rejected_and_the_counts_add_up(folder):
    records = prepared(folder)
    ledger = accounts.read_accounts(records.directory)
    tally = accounts.counts(ledger)
    assert tally == {"found": 11, "used": 6, "dropped": 2, "rejected": 3}
    fates = {a.file: (a.fate, a.reason) for a in ledger if a.fate != "used"}
    assert fates["film3.txt"] == ("dropped", "no value for label")
    assert fates["unlisted.png"] == ("dropped", "not listed in the data set's table")
    assert fates["absent.png"][0] == fates["broken.png"][0] == "rejected"
    rejected = (records.directory / "rejected.csv").read_text().splitlines()
    assert len(rejected) == 1 + 3


def test_records_hold_full_depth_pixels_and_the_way_back_to_the_file(folder):
    records = prepared(folder)
    for i, record in enumerate(records.records):
        original = np.asarray(Image.open(folder / record.source))
        image = records.image(i)
        assert image.dtype == np.uint16 and image.shape == (record.height, record.width) and record.bits == 12
        rows, columns = np.mgrid[5 : record.height - 5 : 7, 3 : record.width - 3 : 7].reshape(2, -1)
        back = np.rint(Geometry.from_json(record.geometry).to_original(np.stack([rows, columns], 1))).astype(
            int
        )
        inside = image[rows, columns] > 1000  # tissue; the background may be cleaned
        assert inside.sum() > 50
        assert np.array_equal(image[rows, columns][inside], original[back[:, 0], back[:, 1]][inside])
        assert image[:, :20].mean() > image[:, -20:].mean()  # the chest wall is at the left


def test_tissue_is_the_share_of_breast_in_blocks_of_8_pixels(folder):
    records = prepared(folder)
    for i, record in enumerate(records.records):
        tissue, image = records.tissue(i), records.image(i)
        rows, columns = -(-record.height // 8), -(-record.width // 8)
        assert tissue.dtype == np.uint8 and tissue.shape == (rows, columns)
        padded = np.full((rows * 8, columns * 8), np.nan)
        padded[: record.height, : record.width] = image > 1000  # the film's own tissue; its background is 20
        share = np.nanmean(padded.reshape(rows, 8, columns, 8), axis=(1, 3))
        assert np.abs(tissue / 255 - share).mean() < 0.05  # the mask's edge is smooth, within pixels
        assert (tissue[share == 1] > 250).mean() > 0.95 and set(np.unique(tissue)) > {0, 255}


def test_identifiers_are_hashed_and_patients_are_kept_together(folder):
    records = prepared(folder)
    assert records.patients.tolist() == [0, 0, 1, 1, 2, 2]
    for file in records.directory.rglob("*.json"):
        assert '"p0"' not in file.read_text() and '"p1"' not in file.read_text()


def test_the_same_call_reuses_and_a_changed_table_prepares_anew(folder):
    first, lines = prepared(folder), []
    stamp = os.stat(first.directory / "index.json").st_mtime_ns
    again = prepared(folder, say=lines.append)
    assert again.directory == first.directory and lines == [f"prepared set {first.directory.name} is reused"]
    assert os.stat(first.directory / "index.json").st_mtime_ns == stamp
    table = folder / "table.csv"
    table.write_text(table.read_text().replace("film5.png,p2,0", "film5.png,p2,1"))
    assert prepared(folder).labels.sum() == first.labels.sum() + 1


def test_a_killed_preparation_goes_on_where_it_was(folder, monkeypatch):
    whole = prepared(folder)
    reference = [(r.record, r.sha256, r.label) for r in whole.records]
    real, calls = module._crop_file, []

    def dies(*job):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(job[0].file)
        return real(*job)

    os.rename(folder.parent / "prepared", folder.parent / "before")
    monkeypatch.setattr(module, "_crop_file", dies)
    with pytest.raises(KeyboardInterrupt):
        prepared(folder)
    decoded = []
    monkeypatch.setattr(module, "_crop_file", real)
    import mammojax.images.reading.any_file as reading

    read = reading.read_mammogram
    monkeypatch.setattr(
        reading, "read_mammogram", lambda data, name, **o: decoded.append(name) or read(data, name, **o)
    )
    records = prepared(folder)
    assert not set(decoded) & set(calls) and len(decoded) + len(calls) == 7  # six films and the broken one
    assert [(r.record, r.sha256, r.label) for r in records.records] == reference


def test_processes_give_the_same_records_as_none(folder):
    alone = prepared(folder)
    os.rename(folder.parent / "prepared", folder.parent / "before")
    together = prepared(folder, workers=2)
    alone = RecordSet(folder.parent / "before" / alone.directory.name)
    assert [(r.record, r.geometry, r.sha256) for r in alone.records] == [
        (r.record, r.geometry, r.sha256) for r in together.records
    ]
    assert all(np.array_equal(alone.image(i), together.image(i)) for i in range(len(alone)))


def test_strict_turns_rejections_into_an_error_that_says_where_to_look(folder):
    with pytest.raises(UserError, match=r"3 of 11 files were rejected and strict is set; see .*rejected.csv"):
        prepared(folder, strict=True)


def test_a_folder_without_a_usable_file_says_why(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.png").write_bytes(b"no picture")
    (source / "t.csv").write_text(TABLE + "a.png,p,1,L,CC\n")
    with pytest.raises(UserError, match="none of 1 files could be used"):
        prepared(source)


def test_contact_sheets_are_drawn(folder):
    sheets = list((prepared(folder).directory / "contact_sheets").glob("*.png"))
    assert sheets and np.asarray(Image.open(sheets[0])).std() > 1


def test_the_array_records_are_a_tfds_data_set_of_its_own(folder):
    import tensorflow_datasets as tfds

    records = prepared(folder)
    index = json.loads((records.directory / "index.json").read_text())
    source = tfds.builder_from_directory(records.directory / index["files"]).as_data_source("images")
    assert [source[i]["record"].decode() for i in range(len(source))] == [r.record for r in records.records]
