"""The CMMD builder: sides from headers, labels by breast, the breasts that nobody labelled; the real table."""

import zipfile
from collections import Counter

import pytest
from distributions import dicom, touch

from mammojax.datasets import accounts
from mammojax.datasets.builders import cmmd
from mammojax.datasets.builders.cmmd import Cmmd
from mammojax.datasets.labels import Dropped
from mammojax.datasets.listing import entries
from mammojax.datasets.prepare import prepare
from mammojax.datasets.workbook import read_workbook
from mammojax.errors import UserError

TABLE = "ID1,LeftRight,Age,number,abnormality,classification,subtype\n"
CC, MLO = ("399162004", "399368009")


def view_codes(code):
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SCT", "view"
    return [item]


def film(root, patient, number, seed, side, code, **elements):
    path = root / patient / "07-18-2010-NA-NA-79377" / "1.000000-NA-70244" / f"1-{number}.dcm"
    dicom(path, seed, side, ImageLaterality=side, ViewCodeSequence=view_codes(code), **elements)
    return path


@pytest.fixture
def collection(tmp_path):
    """Two patients: one breast labelled of two files; one breast labelled of four files, the right ones first."""
    root = tmp_path / "CMMD"
    film(root, "D1-0001", 1, 0, "R", MLO)
    film(root, "D1-0001", 2, 1, "R", CC)
    for number, (side, code) in enumerate((("R", CC), ("R", MLO), ("L", CC), ("L", MLO)), 1):
        film(root, "D2-0002", number, number + 1, side, code)
    text = TABLE + "D1-0001,R,44,2,mass,Benign,\nD2-0002,L,50,4,both,Malignant,Luminal A\n"
    (tmp_path / "CMMD" / "CMMD_clinicaldata_revision.csv").write_text(text)
    return root


def test_labels_go_to_the_side_of_the_header_and_not_to_the_first_file(collection):
    records = prepare("cmmd", collection, collection.parent / "prepared")
    assert [(r.record[:7], r.laterality, r.view, r.label) for r in records.records] == [
        ("D1-0001", "R", "MLO", 0),
        ("D1-0001", "R", "CC", 0),
        ("D2-0002", "L", "CC", 1),
        ("D2-0002", "L", "MLO", 1),
    ]
    ledger = accounts.read_accounts(records.directory)
    assert accounts.reasons(ledger) == [
        ("dropped", "'unlabelled breast' does not tell whether it is malignant", 2)
    ]


def test_unlabelled_breasts_are_negative_by_name_alone(collection):
    records = prepare("cmmd", collection, collection.parent / "prepared", labels="unlabelled_negative")
    assert records.labels.tolist() == [0, 0, 0, 0, 1, 1]


def test_a_file_without_side_and_a_breast_without_file_are_rejected(collection):
    path = film(collection, "D1-0001", 1, 0, "R", CC)
    dicom(path, 0, "R")
    text = (collection / "CMMD_clinicaldata_revision.csv").read_text()
    (collection / "CMMD_clinicaldata_revision.csv").write_text(text + "D1-0003,L,40,2,mass,Malignant,\n")
    touch(collection, "D1-0009/x/y/1-1.dcm")
    found = {s.file: s for s in Cmmd.find(collection, collection)}
    assert "does not tell its side" in found[path.relative_to(collection).as_posix()].missing
    assert "no image of it is there" in found["D1-0003/L"].missing
    assert found["D1-0009/x/y/1-1.dcm"].facts is None


def test_the_real_workbook_has_the_published_counts_and_labels_3744_of_5202_files(
    shared, tmp_path, monkeypatch
):
    """The files are made of the table: D2 patients have four unless both breasts are listed, D1 two a listed breast."""
    source = shared / "data/labels/CMMD_clinicaldata_revision.xlsx"
    (tmp_path / source.name).write_bytes(source.read_bytes())
    rows = [row.values for row in read_workbook(source).rows]
    assert Counter(r["classification"] for r in rows) == {"Malignant": 1316, "Benign": 556}
    assert Counter(r["abnormality"] for r in rows) == {"mass": 1149, "both": 461, "calcification": 262}
    assert len({r["ID1"] for r in rows}) == 1775 and sum(bool(r["subtype"]) for r in rows) == 749
    breasts = {}
    for r in rows:
        breasts.setdefault(r["ID1"], set()).add(r["LeftRight"])
    alone = [patient for patient, sides in breasts.items() if patient[:2] == "D2" and len(sides) == 1]
    for patient in alone[:729]:
        breasts[patient] = {"L", "R"}
    for patient, sides in breasts.items():
        touch(tmp_path, *(f"{patient}/{side}_{view}.dcm" for side in sides for view in ("CC", "MLO")))
    monkeypatch.setattr(cmmd, "peek", lambda path: cmmd_peek(path.stem))
    found = Cmmd.find(tmp_path, tmp_path)
    assert len(found) == 5202 and not any(s.missing for s in found)
    labels = Counter(s.facts.malignant for s in found)
    assert labels == {True: 2632, False: 1112, None: 1458}


def cmmd_peek(name):
    from mammojax.images.reading.peek import Peek

    return Peek(*name.split("_"))


def test_a_workbook_that_is_none_is_one_line(tmp_path):
    path = tmp_path / "CMMD_clinicaldata_revision.xlsx"
    for data in (b"", b"PK\3\4 no workbook", b"ID1,LeftRight\n"):
        path.write_bytes(data)
        with pytest.raises(UserError, match="is no readable workbook"):
            read_workbook(path)


def test_a_breast_in_two_rows_takes_the_worst_and_an_unclear_side_leaves_no_breast_unlabelled(collection):
    table = collection / "CMMD_clinicaldata_revision.csv"
    rows = "d1-0001,R,44,2,mass,Malignant,\nD1-0001,R,44,2,mass,Benign,\nD2-0002,?,50,4,both,Malignant,\n"
    table.write_text(TABLE + rows)
    listed = entries(Cmmd.find(collection, collection), "unlabelled_negative")
    assert [e.verdict for e in listed if e.source.file.startswith("D1-0001/0")] == [1, 1]
    assert all(isinstance(e.verdict, Dropped) for e in listed if e.source.file.startswith("D2-0002"))


def test_a_workbook_with_two_columns_of_one_name_or_a_text_that_is_not_there_is_refused(tmp_path):
    form = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    cell = '<c r="{}1" t="{}"><v>{}</v></c>'
    for cells, said in (
        (cell.format("A", "str", "ID1") + cell.format("B", "str", "ID1"), "has the column ID1 twice"),
        (cell.format("A", "s", "-1"), "is no readable workbook"),
    ):
        with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as parts:
            sheet = f'<worksheet {form}><sheetData><row r="1">{cells}</row></sheetData></worksheet>'
            parts.writestr("xl/worksheets/sheet1.xml", sheet)
            parts.writestr("xl/sharedStrings.xml", f"<sst {form}><si><t>ID1</t></si></sst>")
        with pytest.raises(UserError, match=said):
            read_workbook(tmp_path / "t.xlsx")
