"""Preparation: every file accounted for, nothing decided by path, time, salt or order, one bad file never stops the rest."""

import csv
import dataclasses
import functools
import json
import os
import shutil

import numpy as np
import pydicom
import pytest
from PIL import Image

from mammojax.datasets import accounts
from mammojax.datasets import crop as cropping
from mammojax.datasets.folds import refuse_shared_pictures
from mammojax.datasets.prepare import prepare
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError
from mammojax.images.geometry import Geometry
from mammojax.runs import stages

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


def film(seed: int, side: str = "left", height: int = 240) -> np.ndarray:
    """uint16[height, 2/3 height]: a half-ellipse of 12-bit tissue at the chest wall."""
    width = height * 2 // 3
    rows, columns = np.mgrid[:height, :width]
    breast = (rows - height / 2) ** 2 / (0.375 * height) ** 2 + columns**2 / (0.6875 * width) ** 2 < 1
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
    rows += ["broken.png,p9,0,L,CC", "absent.png,p9,0,L,CC", "./film1.png,p0,1,L,CC", "film3.txt,p1,,L,CC"]
    (source / "film3.txt").write_text("no label")
    Image.fromarray(film(9)).save(source / "unlisted.png")
    (source / "table.csv").write_text(TABLE + "\n".join(rows) + "\n")
    return source


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


def test_a_changed_table_prepares_anew_and_keeps_what_was_there(tmp_path):
    source = little(tmp_path, FOUR)
    first = prepared(source)
    table = source / "table.csv"
    table.write_text(table.read_text().replace("c.png,p1,0", "c.png,p1,1"))
    second = prepared(source)
    assert second.labels.sum() == first.labels.sum() + 1 and second.directory != first.directory
    assert RecordSet(first.directory).labels.tolist() == first.labels.tolist()


def test_the_set_is_named_by_content_not_by_place_time_or_order(tmp_path):
    source = little(tmp_path, FOUR)
    first, lines = prepared(source), []
    copy = little(tmp_path, FOUR[::-1], {}, name="copy")
    for file in source.glob("*.png"):
        shutil.copy(file, copy)
        os.utime(copy / file.name, (1, 1))
    again = prepared(copy, say=lines.append)
    assert again.directory == first.directory and f"prepared set {first.directory.name} is reused" in lines


def test_a_file_replaced_in_place_is_prepared_anew_though_its_size_and_time_are_the_same(tmp_path):
    source = little(tmp_path, [*FOUR, "e.png,p3,0,L,CC"])
    (source / "e.png").write_bytes(pgm(1))
    first = prepared(source)
    stat = (source / "e.png").stat()
    (source / "e.png").write_bytes(pgm(2))
    os.utime(source / "e.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second = prepared(source)
    assert (source / "e.png").stat().st_size == stat.st_size
    assert second.records[4].sha256 != first.records[4].sha256
    assert not np.array_equal(second.image(4), first.image(4))


def pgm(seed: int) -> bytes:
    return b"P5\n16 24\n255\n" + (film(seed, height=24) // 16).astype(np.uint8).tobytes()


def test_no_result_depends_on_the_salt(tmp_path):
    source = little(tmp_path, FOUR)
    first, second = prepared(source, "one"), prepared(source, "two")
    assert first.directory.name == second.directory.name
    assert [r.patient for r in first.records] != [r.patient for r in second.records]
    assert first.patients.tolist() == second.patients.tolist() == [0, 0, 1, 2]
    assert facts_of(first) == facts_of(second)


def test_processes_give_the_same_records_as_none(tmp_path):
    source = little(tmp_path, FOUR)
    alone, together = (prepared(source, to, workers=n, depth=12) for to, n in (("one", 0), ("two", 2)))
    assert facts_of(alone) == facts_of(together)
    assert all(np.array_equal(alone.image(i), together.image(i)) for i in range(len(alone)))


def test_a_file_that_changes_while_the_set_is_made_ends_it_with_one_line(tmp_path, monkeypatch):
    source = little(tmp_path, FOUR)
    real = cropping.read_mammogram

    def then_changed(data, name, **options):
        (source / "b.png").write_bytes(pgm(7))
        return real(data, name, **options)

    monkeypatch.setattr(cropping, "read_mammogram", then_changed)
    with pytest.raises(UserError, match="b.png was changed while the set was prepared; start again"):
        prepared(source)
    monkeypatch.undo()
    assert len(prepared(source)) == 4


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


def test_the_same_picture_of_one_patient_is_used_once_with_the_larger_label(tmp_path):
    rows = ["a.png,p0,0,L,CC", "b.png,p0,1,L,CC", "c.png,p1,0,L,CC"]
    lines = []
    records = prepared(little(tmp_path, rows, {"a.png": 0, "b.png": 0, "c.png": 1}), say=lines.append)
    ledger = ledger_of(records)
    assert [(r.record, r.label) for r in records.records] == [("b.png", 1), ("c.png", 0)]
    assert (ledger["a.png"].fate, ledger["a.png"].reason) == (
        "dropped",
        "the same picture as another file of the patient",
    )
    assert any("file 1, whose label differs; the larger one counts" in w for w in ledger["b.png"].warnings)
    assert any("another label" in line for line in lines)


def test_the_same_picture_under_two_patients_is_reported_and_refused_across_folds(tmp_path):
    rows = ["a.png,p0,0,L,CC", "b.png,p1,1,L,CC", "c.png,p2,0,L,CC"]
    lines = []
    records = prepared(little(tmp_path, rows, {"a.png": 0, "b.png": 0, "c.png": 1}), say=lines.append)
    assert len(records) == 3 and any("1 pictures lie under several patients" in line for line in lines)
    expected = "the same picture under several patients and with different labels: see file 2"
    assert expected in ledger_of(records)["a.png"].warnings
    lines.clear()
    prepared(tmp_path / "source", say=lines.append)  # said each time
    assert any("1 pictures lie under several patients" in line for line in lines)
    refuse_shared_pictures(records, np.asarray([0, 0, 1]))
    with pytest.raises(UserError, match=r"in several folds \(files 1 and 2 of accounts.csv"):
        refuse_shared_pictures(records, np.asarray([0, 1, 1]))
    assert not (tmp_path / "folds.json").exists()


@functools.cache
def phantom():
    from mammojax.phantom.screening_set import phantom_patient

    return phantom_patient(0, 0, malignant=False, height=128, width=96, difficulty=0.5)[0]


def dicom(path, patient: str, seed: int):
    from mammojax.phantom.dicom import write_phantom_dicom

    pixels = phantom().pixels.copy()
    pixels[0, 0] += seed  # another picture
    write_phantom_dicom(dataclasses.replace(phantom(), pixels=pixels), path, seed=0, patient=seed)
    ds = pydicom.dcmread(path)
    ds.PatientID = patient
    ds.save_as(path)


def test_headers_name_the_patients_when_asked_and_placeholders_join_nobody(tmp_path):
    source = little(tmp_path, [f"{k}.dcm,,{k % 2},," for k in range(4)], {})
    for k, patient in enumerate(["W1", "W1", "ANONYMOUS", "no name"]):
        dicom(source / f"{k}.dcm", patient, k)
    with pytest.raises(UserError, match=r"names no patient for 4 of 4 pictures \(empty; first 0.dcm\)"):
        prepared(source)
    records = prepared(source, options={**OPTIONS, "patient": "header"})
    ledger = ledger_of(records)
    assert records.patients.tolist() == [0, 0] and ledger["0.dcm"].patient_from == "header"
    assert all("no patient: " in ledger[f"{k}.dcm"].reason for k in (2, 3))


def test_one_patient_of_the_headers_under_two_names_of_the_table_is_reported(tmp_path):
    source = little(tmp_path, [f"{k}.dcm,t{k},{k % 2},," for k in range(3)], {})
    for k, patient in enumerate(["W1", "W1", "W2"]):
        dicom(source / f"{k}.dcm", patient, k)
    lines = []
    ledger = ledger_of(prepared(source, say=lines.append))
    assert any("1 patients of the headers are several in the table" in line for line in lines)
    warned = {name for name, a in ledger.items() if any(w.startswith("patient: ") for w in a.warnings)}
    assert warned == {"0.dcm", "1.dcm"} and ledger["0.dcm"].patient_from == "table"


def test_depth_is_one_for_the_set_found_from_all_its_files_or_stated(tmp_path):
    source = little(tmp_path, FOUR, {})
    for k, name in enumerate("abcd"):
        picture = film(k, height=24).astype(np.float64)
        picture = (picture * (1000, 1100, 3000, 900)[k] / picture.max()).astype(np.uint16)
        Image.fromarray(picture).save(source / f"{name}.png")
    records = prepared(source)
    assert records.depth == 12 and {r.bits for r in records.records} == {12}
    stated = prepared(source, depth=14)
    assert stated.depth == 14 and {r.bits for r in stated.records} == {14}
    assert stated.directory != records.directory
    short = prepared(source, depth=10)  # two hold larger values
    assert [r.record for r in short.records] == ["a.png", "d.png"]


@pytest.mark.parametrize("where", ["shard", "index.json"])
def test_a_flipped_bit_is_one_line_that_names_the_file_and_is_made_again(tmp_path, where):
    source = little(tmp_path, FOUR)
    records = prepared(source)
    facts = facts_of(records)
    path = next(records.directory.rglob("*array_record*" if where == "shard" else where))
    data = bytearray(path.read_bytes())
    told = [i for i, byte in enumerate(data) if byte]  # array_record fills up its blocks with zeros
    data[told[len(told) // 2]] ^= 4
    path.write_bytes(data)
    with pytest.raises(stages.Damaged, match=path.name):
        damaged = RecordSet(records.directory)
        [damaged.image(i) for i in range(len(damaged))]
    again = prepared(source)
    assert facts_of(again) == facts and again.image(0).size


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
