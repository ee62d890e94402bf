"""The INbreast builder: the published layout, its copies, and a table of one's own; counts by the real label file."""

import plistlib
import shutil
import zipfile
from collections import Counter

import pytest
from distributions import dicom, picture, touch

from mammojax.datasets import accounts
from mammojax.datasets.builders.folder import Folder
from mammojax.datasets.builders.inbreast import Inbreast
from mammojax.datasets.listing import entries
from mammojax.datasets.prepare import prepare
from mammojax.errors import UserError
from mammojax.settings.tree import Folder as FolderColumns

HEADER = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads\r\n"
ROWS = (
    ("20586908", "aaaaaaaaaaaaaaaa", "R", "CC", "2"),
    ("20586934", "aaaaaaaaaaaaaaaa", "L", "CC", "5"),
    ("20586960", "bbbbbbbbbbbbbbbb", "R", "MLO", "3"),
    ("20586986", "bbbbbbbbbbbbbbbb", "L", "MLO", "1"),
)


def name_of(number, patient, side, view) -> str:
    return f"{number}_{patient}_MG_{side}_{'ML' if view == 'MLO' else view}_ANON"


@pytest.fixture
def release(tmp_path):
    """INbreast Release 1.0 with four images, one with contours."""
    root = tmp_path / "INbreast Release 1.0"
    table = HEADER
    for seed, (number, patient, side, view, grade) in enumerate(ROWS):
        dicom(root / "AllDICOMs" / f"{name_of(number, patient, side, view)}.dcm", seed, side)
        table += f"removed;removed;{side};{view};201001;{number};{' ' * 193};{grade}\r\n"
    (root / "INbreast.csv").write_text(table, newline="")
    regions = [
        {"Name": "Mass", "Point_px": ["(10.5, 20)", "(14.5, 30)", "(12, 26)"]},
        {"Name": "Calcification", "Point_px": ["(3, 4)"]},
        {"Name": "Nothing", "Point_px": []},
    ]
    (root / "AllXML").mkdir()
    (root / "AllXML" / "20586934.xml").write_bytes(plistlib.dumps({"Images": [{"ROIs": regions}]}))
    (root / "AllXML" / "20586908.xml").write_bytes(b"<plist><dict>")
    return root


def test_the_patient_is_the_hash_and_ml_in_a_name_means_mlo(release):
    records = prepare("inbreast", release, release.parent / "prepared")
    assert [(r.laterality, r.view, r.label, r.bits, r.spacing) for r in records.records] == [
        ("R", "CC", 0, 12, (0.07, 0.07)),
        ("L", "CC", 1, 12, (0.07, 0.07)),
        ("L", "MLO", 0, 12, (0.07, 0.07)),
    ]
    assert records.patients.tolist() == [0, 0, 1]
    ledger = accounts.read_accounts(records.directory)
    assert accounts.reasons(ledger) == [("dropped", "BI-RADS 3", 1)]
    assert not any("laterality" in w or "view" in w for a in ledger for w in a.warnings)


def test_contours_become_circles_and_damaged_ones_a_warning(release):
    found = {s.file[-38:-34]: s for s in Inbreast.find(release, release / "work")}
    by_number = {s.path.name[:8]: s for s in found.values()}
    mass, calcification = by_number["20586934"].lesions
    assert (mass["row"], mass["column"], mass["radius"], mass["kind"]) == (25, 12.5, 5, "Mass")
    assert (calcification["row"], calcification["column"]) == (4, 3) and calcification["radius"] > 0
    assert by_number["20586908"].lesions == () and "cannot be read" in by_number["20586908"].warnings[0]


def test_an_archive_gives_what_its_folder_gives(release):
    packed = shutil.make_archive(str(release.parent / "INbreast"), "zip", release.parent, release.name)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("../evil.csv", "x")
    for source in (release.parent / "INbreast.zip",):
        found = Inbreast.find(source, release.parent / "work")
        own = Inbreast.find(release, release.parent / "work")
        assert [(s.path.name, s.facts, s.lesions) for s in found] == [
            (s.path.name, s.facts, s.lesions) for s in own
        ]
    assert not list(release.parent.rglob("evil.csv"))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_copies_with_the_original_names_are_taken_and_the_loss_is_in_the_accounts(tmp_path, release, suffix):
    root = tmp_path / "copy"
    for seed, (number, patient, side, view, _) in enumerate(ROWS):
        picture(root / f"{name_of(number, patient, side, view)}{suffix}", seed, side)
    shutil.copy(release / "INbreast.csv", root)
    records = prepare("inbreast", root, tmp_path / "prepared")
    assert records.labels.tolist() == [0, 1, 0] and {r.bits for r in records.records} == {8}
    assert all(r.spacing is None for r in records.records)  # a copy may be of another size
    used = [a for a in accounts.read_accounts(records.directory) if a.fate == "used"]
    assert all(any("copy of the published DICOM file: its depth" in w for w in a.warnings) for a in used)


def test_of_an_original_and_its_copy_the_original_is_read(release):
    picture(release / "AllPNG" / f"{name_of(*ROWS[0][:4])}.png", 0)
    verdicts = {e.source.file: e.verdict for e in entries(Inbreast.find(release, release), "birads_4_vs_2")}
    assert verdicts[f"AllDICOMs/{name_of(*ROWS[0][:4])}.dcm"] == 0
    copy = verdicts[f"AllPNG/{name_of(*ROWS[0][:4])}.png"]
    assert copy.reason == "a copy of an image that is there in a better form"


def test_absent_files_files_without_row_and_names_without_hash_are_accounted_for(release):
    files = sorted((release / "AllDICOMs").iterdir())
    files[0].unlink()
    files[1].rename(files[1].with_name("20586934.dcm"))
    touch(release, f"AllDICOMs/{name_of('99999999', 'c' * 16, 'L', 'CC')}.dcm")
    found = {s.path.name: s for s in Inbreast.find(release, release)}
    assert found["20586908"].missing == "listed in INbreast.csv, but the file is absent"
    assert "no hash of the patient" in found["20586934.dcm"].missing
    assert found[f"{name_of('99999999', 'c' * 16, 'L', 'CC')}.dcm"].facts is None


def test_the_spreadsheet_saved_as_csv_loses_its_totals_and_its_decimals(release):
    """The published sheet: numbers as decimals, an empty row, then totals that stand under Bi-Rads and ACR."""
    text = "Patient ID,Laterality,View,File Name,ACR,Bi-Rads,Mass \n"
    text += "".join(
        f"removed,{side},{view},{number}.0,2,{grade}.0,X\n" for number, _, side, view, grade in ROWS
    )
    (release / "INbreast.csv").write_text(text + ",,,,,,\n,,,,28,49,\n")
    found = Inbreast.find(release, release)
    assert sorted(s.facts.birads for s in found) == ["1.0", "2.0", "3.0", "5.0"]


def test_a_folder_without_the_table_says_what_to_do(release):
    (release / "INbreast.csv").rename(release / "INbreast.xls")
    with pytest.raises(
        UserError, match=r"INbreast.csv is absent; open INbreast.xls and save its first sheet"
    ):
        Inbreast.find(release, release)


def test_the_real_table_gives_the_published_counts(shared, tmp_path):
    table = (shared / "data/labels/INbreast.csv").read_bytes()
    (tmp_path / "INbreast.csv").write_bytes(table)
    rows = [line.split(";") for line in table.decode("latin-1").splitlines()[1:]]
    touch(tmp_path, *(f"{name_of(row[5], 'a' * 16, row[2], row[3])}.dcm" for row in rows))
    found = Inbreast.find(tmp_path, tmp_path)
    assert len(found) == 410 and not any(s.missing or s.left_out for s in found)
    assert Counter(s.facts.birads for s in found) == Counter(
        {"1": 67, "2": 220, "3": 23, "4a": 13, "4b": 8, "4c": 22, "5": 49, "6": 8}
    )
    verdicts = Counter(e.verdict for e in entries(found, "birads_4_vs_2") if isinstance(e.verdict, int))
    assert verdicts == {1: 100, 0: 287}
    assert Counter(s.view for s in found) == {"CC": 203, "MLO": 206, "FB": 1}
    assert Counter(s.laterality for s in found) == {"L": 209, "R": 201}


def test_the_development_part_is_read_as_a_folder_with_its_own_table_is(shared, tmp_path):
    source, columns = shared / "data/inbreast", vars(FolderColumns())
    found = Inbreast.find(source, tmp_path)
    assert found == Folder.find(source, tmp_path, **columns) and len(found) == 283
    assert len({s.patient for s in found}) == 73


def test_an_image_in_two_rows_takes_the_worst_and_a_row_of_no_image_is_accounted_for(release):
    with (release / "INbreast.csv").open("a", newline="") as file:
        file.write(
            "removed;removed;R;CC;201001;20586908.0;2;6\r\nremoved;removed;R;CC;201001;2,0586908E7;2;6\r\n"
        )
    listed = {e.source.file: e for e in entries(Inbreast.find(release, release), "birads_4_vs_2")}
    assert [e.verdict for file, e in listed.items() if "/20586908_" in file] == [1]
    assert [e.rejected for file, e in listed.items() if file.startswith("INbreast.csv, line")] == [True]
