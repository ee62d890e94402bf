"""Identifiers in headers, names of files and tables are in nothing that is written, however it is packed, but where the
accounts say so: `accounts.csv` and the index keep the names of files, which are the user's own."""

import contextlib
import gzip
import io
import json
import zipfile
import zlib

import numpy as np
import pytest
from distributions import dicom

from mammojax.datasets import accounts
from mammojax.datasets.builders import cbis_ddsm, cmmd, inbreast, rsna, vindr_mammo
from mammojax.datasets.prepare import prepare
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError
from mammojax.settings.tree import Folder as FolderColumns
from mammojax.survey.page import survey

HEADER = {
    "PatientName": "Zuckerkandl^Berta",
    "PatientID": "QX77-PATIENT",
    "PatientBirthDate": "19310417",
    "AccessionNumber": "QX77ACCESSION",
    "StudyID": "QX77STUDY",
    "InstitutionName": "Rudolfinerhaus",
    "ReferringPhysicianName": "Wertheim^Ernst",
    "OtherPatientIDs": "QX77OTHER",
    "PatientComments": "QX77COMMENT",
}
PLANTED = [part for value in HEADER.values() for part in value.split("^")]
IN_THE_TABLE = "QX77-TABLE"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(what was said, records, folder of everything written): good files, a broken one, and patients of table and header."""
    base = tmp_path_factory.mktemp("privacy")
    source = base / "source"
    rows = ["path,patient,label,laterality,view,name"]
    for k in range(6):
        dicom(
            source / f"f{k}.dcm",
            k,
            "L",
            ImageLaterality="L",
            **{**HEADER, "PatientID": f"QX77-PATIENT-{k // 2}"},
        )
        rows.append(f"f{k}.dcm,{IN_THE_TABLE}-{k // 2},{int(k < 2)},R,CC,Zuckerkandl")  # the side contradicts
    data = (source / "f0.dcm").read_bytes()
    (source / "broken.dcm").write_bytes(data[:-40])
    (source / "odd.dcm").write_bytes(data.replace(b"MONOCHROME2 ", b"Zuckerkandl "))
    rows += [f"broken.dcm,{IN_THE_TABLE}-9,0,L,CC,x", f"odd.dcm,{IN_THE_TABLE}-9,0,L,CC,x"]
    (source / "table.csv").write_text("\n".join(rows))
    lines = []
    records = prepare(
        "folder", source, base / "out" / "prepared", options=vars(FolderColumns()), say=lines.append
    )
    survey(records, base / "out", folds=2, seed=0, command="x")
    return lines, records, base / "out"


def plain(data: bytes) -> bytes:
    """The bytes, and what is packed in them as zip, gzip or zlib."""
    found = data
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found += b"".join(archive.read(name) for name in archive.namelist())
    if data[:2] == b"\x1f\x8b":
        found += gzip.decompress(data)
    start = 0
    while (start := data.find(b"\x78\x9c", start)) >= 0:
        with contextlib.suppress(zlib.error):
            found += zlib.decompressobj().decompress(data[start:], 1 << 24)
        start += 1
    return found


def test_nothing_that_is_written_or_said_holds_an_identifier(written):
    lines, records, folder = written
    assert len(records) == 6
    for path in folder.rglob("*"):
        if path.is_file():
            data = plain(path.read_bytes())
            for text in (*PLANTED, IN_THE_TABLE, "QX77"):
                assert text.encode() not in data, f"{text} in {path.relative_to(folder)}"
                assert text.encode("utf-16-le") not in data, path
        assert not any(text in str(path.relative_to(folder)) for text in (*PLANTED, "QX77")), path
    assert not any(text in line for line in lines for text in (*PLANTED, "QX77"))


def test_records_as_they_are_read_hold_none_either(written):
    """The array_record files are packed by a library of their own (zstd or brotli): they are looked at decoded."""
    _, records, _ = written
    read = RecordSet(records.directory)
    for i in range(len(read)):
        example = read._example(i)
        texts = [value.decode() for value in example.values() if isinstance(value, bytes)]
        assert len(texts) >= 8
        whole = json.dumps(texts) + repr(read.records[i])
        assert not any(text in whole for text in (*PLANTED, "QX77"))
        pixels = np.ascontiguousarray(example["image"]).tobytes()
        assert b"QX77" not in pixels


def test_patients_stay_apart_and_contradictions_are_told_without_them(written):
    _, records, _ = written
    assert records.patients.tolist() == [0, 0, 1, 1, 2, 2]
    ledger = accounts.read_accounts(records.directory)
    assert sum(any(w.startswith("laterality") for w in a.warnings) for a in ledger) == 6
    assert sorted(a.file for a in ledger if a.fate == "rejected") == ["broken.dcm", "odd.dcm"]


def test_another_salt_gives_other_hashes(written, tmp_path):
    _, records, folder = written
    again = prepare("folder", folder.parent / "source", tmp_path / "again", options=vars(FolderColumns()))
    assert {r.patient for r in again.records}.isdisjoint(r.patient for r in records.records)


@pytest.mark.parametrize(
    ("find", "table"),
    [
        (inbreast.Inbreast.find, "INbreast.csv"),
        (cbis_ddsm.CbisDdsm.find, "mass_case_description_train_set.csv"),
        (vindr_mammo.VindrMammo.find, "breast-level_annotations.csv"),
        (cmmd.Cmmd.find, "CMMD_clinicaldata_revision.csv"),
        (rsna.Rsna.find, "train.csv"),
    ],
)
def test_errors_of_builders_quote_columns_and_no_rows(tmp_path, find, table):
    (tmp_path / table).write_text("column\nZuckerkandl\n")
    with pytest.raises(UserError) as caught:
        find(tmp_path, tmp_path / "work")
    assert "Zuckerkandl" not in str(caught.value) and "\n" not in str(caught.value)
