"""Whose films they are and how deep: headers against tables, the same picture twice, one depth for the set."""

import dataclasses
import functools

import numpy as np
import pydicom
import pytest
from PIL import Image

from mammojax.datasets.folds import refuse_shared_pictures
from mammojax.errors import UserError
from tests.datasets.small_films import FOUR, OPTIONS, film, ledger_of, little, prepared


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
    with pytest.raises(UserError, match=r"in several folds \(files 1 and 2 of accounts.csv show the same"):
        refuse_shared_pictures(records, np.asarray([0, 1, 1]))
    assert not (tmp_path / "folds.json").exists()


@functools.cache
def phantom():
    from mammojax.phantom.screening_set import phantom_patient

    return phantom_patient(0, 0, malignant=False, height=128, width=96, difficulty=0.5)[0]


def dicom(path, patient: str, seed: int):
    from mammojax.phantom.dicom import write_phantom_dicom

    pixels = np.roll(phantom().pixels, seed, axis=0)  # another picture
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


def test_one_patient_of_the_table_with_several_in_the_headers_is_reported(tmp_path):
    source = little(tmp_path, [f"{k}.dcm,{'t' if k < 3 else 'u'},{k % 2},," for k in range(4)], {})
    for k, patient in enumerate(["W1", "W1", "W2", "W3"]):
        dicom(source / f"{k}.dcm", patient, k)
    lines = []
    ledger = ledger_of(prepared(source, say=lines.append))
    assert any("1 patients of the table are several in the headers" in line for line in lines)
    warned = {
        name for name, a in ledger.items() if any("several patients of the headers" in w for w in a.warnings)
    }
    assert warned == {"0.dcm", "1.dcm", "2.dcm"}


def test_the_same_picture_in_files_of_other_bytes_is_the_same_picture(tmp_path):
    source = little(tmp_path, ["a.png,p0,0,L,CC", "b.png,p1,1,L,CC", "c.png,p0,1,R,CC"], {"a.png": 0})
    for name in "bc":
        Image.open(source / "a.png").save(source / f"{name}.png", compress_level=ord(name) - ord("a"))
    lines = []
    records = prepared(source, say=lines.append)
    assert len({r.sha256 for r in records.records}) == len(records) == 2
    assert [(r.record, r.label) for r in records.records] == [("b.png", 1), ("c.png", 1)]
    assert any("1 pictures lie under several patients" in line for line in lines)
    assert any("each of 2 pictures" in line for line in lines) is False  # of two nobody can say
    with pytest.raises(UserError, match="files 2 and 3 of accounts.csv show the same"):
        refuse_shared_pictures(records, np.asarray([0, 1]))


def test_pictures_that_are_each_the_only_one_of_a_patient_are_asked_about(tmp_path):
    lines = []
    prepared(little(tmp_path, [f"{k}.png,i{k},{k % 2},," for k in range(3)]), say=lines.append)
    assert any("each of 3 pictures is the only one of its patient" in line for line in lines)


def test_shortened_numbers_in_the_patients_column_are_refused(tmp_path):
    source = little(tmp_path, ["a.png,1.23457E+11,1,,", "b.png,1.23457E+11,0,,"])
    with pytest.raises(UserError, match="a spreadsheet has shortened, for 2 of 2 pictures"):
        prepared(source)
