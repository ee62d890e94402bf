"""Preparation: every file accounted for, the way back to it kept, one bad file never stops the rest."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from mammojax.datasets import accounts
from mammojax.datasets.prepare import prepare
from mammojax.errors import UserError
from mammojax.images.geometry import Geometry
from tests.datasets.small_films import FOUR, OPTIONS, TABLE, film, ledger_of, little, prepared


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    rows = []
    for k in range(6):
        Image.fromarray(film(k, "L" if k % 2 else "R", height=240)).save(source / f"film{k}.png")
        rows.append(f"film{k}.png,p{k // 2},{int(k < 2)},{'L' if k % 2 else 'R'},CC")
    (source / "broken.png").write_bytes((source / "film0.png").read_bytes()[:300])
    rows += ["broken.png,p9,0,L,CC", "absent.png,p9,0,L,CC", "./film1.png,p0,1,L,CC", "film3.txt,p1,,L,CC"]
    (source / "film3.txt").write_text("no label")
    Image.fromarray(film(9, height=240)).save(source / "unlisted.png")
    (source / "table.csv").write_text(TABLE + "\n".join(rows) + "\n")
    return source


def test_every_file_is_used_dropped_or_rejected_and_the_counts_add_up(folder):
    records = prepared(folder)
    ledger = ledger_of(records)
    assert accounts.counts(list(ledger.values())) == {"found": 10, "used": 6, "dropped": 2, "rejected": 2}
    fates = {a.file: (a.fate, a.reason) for a in ledger.values() if a.fate != "used"}
    assert fates["film3.txt"] == ("dropped", "no value for label")
    assert fates["unlisted.png"] == ("dropped", "not listed in the data set's table")
    assert fates["absent.png"][0] == fates["broken.png"][0] == "rejected"
    assert ledger["film1.png"].warnings[0] == "listed in 2 rows"
    rejected = (records.directory / "rejected.csv").read_text().splitlines()
    assert len(rejected) == 1 + 2


def test_records_hold_full_depth_pixels_and_the_way_back_to_the_file(folder):
    records = prepared(folder)
    for i, record in enumerate(records.records):
        original = np.asarray(Image.open(folder / record.record))
        image = records.image(i)
        assert image.dtype == np.uint16 and image.shape == (record.height, record.width) and record.bits == 12
        rows, columns = np.mgrid[5 : record.height - 5 : 7, 3 : record.width - 3 : 7].reshape(2, -1)
        back = np.rint(Geometry.from_json(record.geometry).to_original(np.stack([rows, columns], 1)))
        back = back.astype(int)
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


def test_strict_turns_rejections_into_an_error_that_says_where_to_look(folder):
    with pytest.raises(UserError, match=r"2 of 10 files were rejected and strict is set; see .*rejected.csv"):
        prepared(folder, strict=True)


def test_a_folder_without_a_usable_file_says_why(tmp_path):
    source = little(tmp_path, ["a.png,p,1,L,CC"], {})
    (source / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="none of 1 files could be used"):
        prepared(source)


def test_a_table_of_birads_alone_is_told_of_the_schemes_that_read_it(tmp_path):
    source = little(tmp_path, FOUR)
    text = (source / "table.csv").read_text().replace("label", "birads").replace(",1,", ",5,")
    (source / "table.csv").write_text(text.replace(",0,", ",2,"))
    with pytest.raises(
        UserError, match=r"birads_4_vs_2 gives 2 positive and 2 negative .*data.labels=birads_4_vs_2"
    ):
        prepared(source, labels="")
    assert prepared(source, labels="birads_4_vs_2").labels.tolist() == [1, 0, 0, 1]


def test_captions_and_pages_name_files_by_number(folder, monkeypatch):
    from mammojax.datasets import pack

    captions, real = [], pack.contact_sheet

    def watched(films, to):
        def seen():
            for film_ in films:
                captions.append(film_[4])
                yield film_

        return real(seen(), to)

    monkeypatch.setattr(pack, "contact_sheet", watched)
    records = prepared(folder)
    assert captions == [str(r.number) for r in records.records]
    ledger = ledger_of(records)
    assert all(ledger[r.record].number == r.number for r in records.records)
    sheets = list((records.directory / "contact_sheets").glob("*.png"))
    assert sheets and np.asarray(Image.open(sheets[0])).std() > 1


def test_the_array_records_are_a_tfds_data_set_of_its_own(tmp_path):
    import tensorflow_datasets as tfds

    records = prepared(little(tmp_path, FOUR))
    index = json.loads((records.directory / "index.json").read_text())
    source = tfds.builder_from_directory(records.directory / index["files"]).as_data_source("images")
    assert [source[i]["record"].decode() for i in range(len(source))] == [r.record for r in records.records]


def test_names_by_uid_and_odd_names_are_all_used_and_stay_apart(tmp_path):
    raw = os.fsdecode(b"odd\xff.png")
    names = ["1.2.840.5.1", "1.2.840.5.2", "film.png", "film.pgm", "tab\there.png"]
    source = little(tmp_path, [f"{n},p{k},{k % 2},L,CC" for k, n in enumerate(names)])
    shutil.copy(source / "film.png", source / raw)
    records = prepared(source)
    assert [r.record for r in records.records] == [
        "1.2.840.5.1",
        "1.2.840.5.2",
        "film.pgm",
        "film.png",
        "tab\\there.png",
    ]
    assert ledger_of(records)["odd\\xff.png"].fate == "dropped"  # not listed, and not lost


def test_the_table_against_the_file_is_a_warning_in_the_accounts(tmp_path):
    source = little(tmp_path, ["x_R_MLO.png,p0,1,L,CC", "b.png,p1,0,L,CC"])
    account = ledger_of(prepared(source))["x_R_MLO.png"]
    assert "laterality: the table says L, the file says R; L is believed" in account.warnings
    assert "view: the table says CC, the file says MLO; CC is believed" in account.warnings


def test_an_unwritable_folder_or_a_missing_disk_is_one_line(tmp_path):
    source = little(tmp_path, FOUR)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        prepared(source, "file/prepared")
    with pytest.raises(UserError, match="cannot"):
        prepare("folder", source, "/proc/prepared", options=OPTIONS, labels="label")


def test_a_file_that_may_not_be_read_is_rejected(tmp_path, monkeypatch):
    source = little(tmp_path, FOUR)
    real = type(source).read_bytes

    def refused(path):
        if path.name == "b.png":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(type(source), "read_bytes", refused)
    records = prepared(source)
    assert ledger_of(records)["b.png"].reason == "cannot be read: Permission denied"


def test_accounts_are_read_as_they_were_written(tmp_path):
    ledger = [
        accounts.Account(1, 'a, "b".png', "used", "", "table", ("one", "two, three")),
        accounts.Account(2, "c.png", "rejected", "empty file"),
    ]
    accounts.write_accounts(tmp_path, ledger)
    with (tmp_path / "accounts.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 3
    assert accounts.read_accounts(tmp_path) == ledger
