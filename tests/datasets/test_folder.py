"""The builder for a folder and a CSV."""

import unicodedata

import pytest
from small_films import OPTIONS

from mammojax.datasets.builders.folder import Folder
from mammojax.datasets.labels import Dropped
from mammojax.datasets.listing import entries
from mammojax.errors import UserError


def find(folder, **changes):
    return Folder.find(folder, folder / "work", **(OPTIONS | changes))


def folder_of(tmp_path, table, files=("a.png", "sub/b.dcm"), name="table.csv"):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"x")
    (tmp_path / name).write_bytes(table.encode("utf-8"))
    return tmp_path


def test_rows_become_images_and_unlisted_files_are_accounted_for(tmp_path):
    table = "path,patient,label,laterality,view\na.png,7,1,left,cc\nsub/b.dcm,8,benign,R,MLO\n"
    found = find(folder_of(tmp_path, table, ("a.png", "sub/b.dcm", "c.pgm", "notes.txt")))
    assert [(s.file, s.patient, s.laterality, s.view) for s in found[:2]] == [
        ("a.png", "7", "L", "CC"),
        ("sub/b.dcm", "8", "R", "MLO"),
    ]
    assert [s.facts.label for s in found[:2]] == [1, 0]
    assert [(s.file, s.facts) for s in found[2:]] == [("c.pgm", None)]


@pytest.mark.parametrize(
    "table",
    [
        "\ufeffpath;patient;birads\r\na.png;7;4a\r\n",
        "path\tpatient\tbirads\na.png\t7\t4a\n",
        ' path , patient , birads \n"a.png", 7 , 4a \n',
    ],
)
def test_delimiters_byte_order_marks_and_blanks_do_not_matter(tmp_path, table):
    (first, *_) = find(folder_of(tmp_path, table, ("a.png",)))
    assert (first.file, first.patient, first.facts.birads) == ("a.png", "7", "4a")


def test_any_column_can_be_mapped_and_rows_of_another_split_left_out(tmp_path):
    table = "File,Case,Cancer,Set\na.png,7,yes,train\nsub/b.dcm,8,no,test\n"
    found = find(
        folder_of(tmp_path, table),
        path="File",
        patient="Case",
        label="Cancer",
        split="Set",
        keep_split="train",
    )
    assert [(s.file, s.facts.label) for s in found if s.facts] == [("a.png", 1)]


def test_absent_files_and_paths_out_of_the_folder_are_rejected_not_read(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"x")
    folder = tmp_path / "set"
    folder.mkdir()
    table = "path,patient,label\nnone.png,1,1\n../secret.png,2,0\n"
    found = find(folder_of(folder, table, ()))
    assert found[0].missing == "listed in the CSV, but the file is absent"
    assert found[1].missing == "the path leads out of the folder"


def test_errors_name_what_is_there_and_which_flag_to_use(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        find(tmp_path / "none")
    with pytest.raises(UserError, match="0 CSV files.*data.folder.csv"):
        find(tmp_path)
    (tmp_path / "INbreast.xls").write_bytes(b"x")
    with pytest.raises(UserError, match="INbreast.xls is there: save it as CSV"):
        find(tmp_path)
    with pytest.raises(UserError, match="columns a, b; expected path"):
        find(folder_of(tmp_path, "a,b\n1,2\n"))
    with pytest.raises(UserError, match="2 CSV files \\(other.csv, table.csv are there\\)"):
        find(folder_of(tmp_path, "a,b\n1,2\n", name="other.csv"))
    with pytest.raises(UserError, match="none.csv is absent"):
        find(tmp_path, csv="none.csv")


def test_the_table_is_found_whatever_the_case_of_its_name_and_beside_hidden_files(tmp_path):
    folder_of(tmp_path, "path,patient,label\na.png,7,1\n", ("a.png",), name="LABELS.CSV")
    (tmp_path / "._labels.csv").write_bytes(b"\0\5\x16\7 resource fork")
    (tmp_path / "._a.png").write_bytes(b"\0\5\x16\7 resource fork")
    assert [s.file for s in find(tmp_path)] == ["a.png"]
    assert [s.file for s in find(tmp_path, csv="labels.csv")] == ["a.png"]


def test_short_rows_and_footers_are_accounted_for_and_lose_no_other_row(tmp_path):
    table = "path,patient,label\na.png,7,1\n\nshort\nTotal,,\n,8,1\nsub/b.dcm,8,0,surplus\n;;\n"
    found = {s.file: s.missing for s in find(folder_of(tmp_path, table))}
    assert found == {
        "a.png": "",
        "short": "listed in the CSV, but the file is absent",
        "Total": "listed in the CSV, but the file is absent",
        "table.csv, line 6": "a row without a path",
        "sub/b.dcm": "its row has more fields than the table has columns",
        ";;": "listed in the CSV, but the file is absent",
    }


def test_a_split_that_is_not_there_names_those_that_are(tmp_path):
    folder = folder_of(tmp_path, "path,patient,label,split\na.png,7,1,training\nsub/b.dcm,8,0,test\n")
    with pytest.raises(UserError, match=r"no row .* has train .*training \(1 rows\), test \(1 rows\)"):
        find(folder, keep_split="train")
    assert [s.file for s in find(folder, keep_split="Training") if s.facts] == ["a.png"]
    with pytest.raises(UserError, match="has no column set, which the split"):
        find(folder, split="set", keep_split="training")


def test_sides_and_views_are_understood_in_other_languages_and_never_cut_to_a_letter(tmp_path):
    rows = [
        ("Izquierda", "L"),
        ("droite", "R"),
        ("LEFT", "L"),
        ("r", "R"),
        ("Rechts", "R"),
        ("X", ""),
        ("both", ""),
    ]
    views = ["CC", "mlo", "Cranio-caudal", "Medio-lateral oblique", "RMLO", "", "odd"]
    table = "path,patient,label,laterality,view\n" + "".join(
        f"{k}.png,{k + 1},1,{side},{view}\n" for k, ((side, _), view) in enumerate(zip(rows, views))
    )
    found = find(folder_of(tmp_path, table, [f"{k}.png" for k in range(len(rows))]))
    assert [s.laterality for s in found] == [side for _, side in rows]
    assert [s.view for s in found] == ["CC", "MLO", "CC", "MLO", "MLO", "", ""]
    assert found[5].warnings == ("laterality 'X' in the table is not understood",)
    assert "view 'odd' in the table is not understood" in found[6].warnings
    (spot,) = find(folder_of(tmp_path, 'path,patient,label,view\n0.png,1,1,"MLO, spot"\n', ()))[:1]
    assert spot.warnings == ("the table's view says spot compression; kept as a whole mammogram",)


@pytest.mark.parametrize("word", ["", "removed", "nan", "unknown", "N/A", "Anonymous", "0", "none", "-"])
def test_a_column_with_words_that_stand_for_nobody_is_refused_unless_headers_are_asked_for(tmp_path, word):
    table = f"path,patient,label\na.png,P7,1\nsub/b.dcm,{word},0\n"
    folder = folder_of(tmp_path, table)
    with pytest.raises(UserError, match=r"names no patient for 1 of 2 pictures .*data.folder.patient=header"):
        find(folder)
    assert [s.patient for s in find(folder, patient="header")] == ["", ""]


def test_patients_that_are_counted_from_0_are_patients(tmp_path):
    table = "path,patient,label\na.png,0,1\nsub/b.dcm,1,0\n"
    assert [s.patient for s in find(folder_of(tmp_path, table))] == ["0", "1"]


def test_a_row_without_a_file_needs_no_patient(tmp_path):
    assert len(find(folder_of(tmp_path, "path,patient,label\na.png,P7,1\nTotal,,\n", ("a.png",)))) == 2


def test_a_patient_column_of_another_name_is_refused_and_named(tmp_path):
    folder = folder_of(tmp_path, "path,patient_id,label\na.png,7,1\n", ("a.png",))
    with pytest.raises(
        UserError, match=r"looks like data.folder.patient='patient_id'.*data.folder.patient=header"
    ):
        find(folder)
    assert find(folder, patient="patient_id")[0].patient == "7"


def test_inbreasts_own_table_is_told_what_it_looks_like_and_understood_when_mapped(tmp_path):
    table = (
        "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads\r\n"
        "p1;removed;R;CC;201001;22678622;4;1\r\np1;removed;L;CC;201001;22678646;4;4a\r\n"
        "p2;removed;L;CC;201001;22678999;4;3\r\n"
    )
    files = ("AllDICOMs/22678622_61b13c59bcba149e_MG_R_CC_ANON.dcm", "22678646.png")
    folder = folder_of(tmp_path, table, files, name="INbreast.csv")
    with pytest.raises(UserError) as error:
        find(folder)
    mapping = "data.folder.path='File Name' data.folder.patient='Patient ID' data.folder.birads='Bi-Rads'"
    assert mapping in str(error.value)
    found = find(folder, path="File Name", patient="Patient ID", birads="Bi-Rads")
    assert [(s.file, s.laterality, s.facts.birads, bool(s.missing)) for s in found] == [
        (files[0], "R", "1", False),
        (files[1], "L", "4a", False),
        ("22678999", "L", "3", True),
    ]


def test_inbreasts_downloaded_table_names_no_patient_and_is_refused(shared, tmp_path):
    folder = folder_of(
        tmp_path, (shared / "data/labels/INbreast.csv").read_text("latin-1"), ("22678622.png",)
    )
    with pytest.raises(UserError, match=r"names no patient for 1 of 1 pictures \(removed;"):
        find(folder, path="File Name", patient="Patient ID", birads="Bi-Rads")


def test_names_in_other_unicode_forms_and_encodings_and_with_dots_are_found(tmp_path):
    (tmp_path / "Müller.png".encode("latin-1").decode("utf-8", "surrogateescape")).write_bytes(b"x")
    (tmp_path / unicodedata.normalize("NFD", "é.png")).write_bytes(b"x")
    (tmp_path / "1.2.840.1").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "table.csv").write_bytes(
        "path,patient,label\nMüller.png,7,1\né.png,7,1\n./1.2.840.1,8,1\n".encode("latin-1")
    )
    assert [s.missing for s in find(tmp_path)] == ["", "", ""]


def test_a_name_too_long_for_any_file_is_one_that_is_absent(tmp_path):
    (found,) = find(folder_of(tmp_path, f"path,patient,label\n{'a' * 5000},7,1\n", ()))
    assert found.missing == "listed in the CSV, but the file is absent"


def test_names_in_other_letters_and_with_a_spreadsheets_decimal_are_found(tmp_path):
    table = "path,patient,label\nA.PNG,7,1\nsub/B.dcm,8,0\n12.0,9,1\n"
    found = find(folder_of(tmp_path, table, ("a.png", "Sub/b.DCM", "12.png")))
    assert [(s.file, s.missing) for s in found] == [("a.png", ""), ("Sub/b.DCM", ""), ("12.png", "")]


def test_a_number_that_may_have_lost_its_leading_zeros_takes_no_picture(tmp_path):
    table = "path,patient,label\n12,7,1\n13,8,0\n14,9,0\n"
    found = find(folder_of(tmp_path, table, ("12_L.png", "0012.png", "0013.png", "14.png")))
    assert [bool(s.missing) for s in found[:3]] == [True, True, False]
    assert "0013.png differs by leading zeros" in found[1].missing


def test_a_picture_in_rows_of_two_splits_takes_the_worst_and_the_others_are_left_out(tmp_path):
    table = "path,patient,label,split\na.png,7,0,train\na.png,7,1,test\nsub/b.dcm,8,1,test\n"
    found = find(folder_of(tmp_path, table), keep_split="train")
    listed = {e.source.file: e.verdict for e in entries(found, "label")}
    assert listed == {"a.png": 1, "sub/b.dcm": Dropped("outside the split train of the table")}


def test_linked_folders_are_looked_into_once(tmp_path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "set"
    (elsewhere / "deep").mkdir(parents=True)
    (elsewhere / "deep" / "c.png").write_bytes(b"x")
    folder_of(folder, "path,patient,label\nin/b.png,7,1\nc,8,0\n", ("real/b.png",))
    for link, target in (("in", folder / "real"), ("out", elsewhere), ("zout", elsewhere), ("loop", folder), ("up", tmp_path)):  # fmt: skip
        (folder / link).symlink_to(target)
    assert [(s.file, s.missing, s.facts is None) for s in find(folder)] == [
        ("in/b.png", "", False),
        ("out/deep/c.png", "", False),
    ]


def test_a_split_that_parts_patients_is_said(tmp_path):
    table = "path,patient,label,split\na.png,07,0,train\nsub/b.dcm,7,1,test\n"
    lines = []
    find(folder_of(tmp_path, table), keep_split="train", say=lines.append)
    assert lines == [
        "the split train of table.csv is not patient-wise: 1 patients have pictures in it and outside of it"
    ]
    find(tmp_path, say=lines.append)
    assert len(lines) == 1


def test_a_whole_name_comes_before_one_that_goes_on_and_no_row_takes_the_picture_of_another(tmp_path):
    table = "path,patient,label\ncase1,7,1\ncase2,8,1\ncase2_b,9,0\ncase3,10,1\n"
    files = ("case1.png", "case1_b.png", "case2_b.png", "case3_c.png")
    found = {s.file: (s.facts.label, s.missing) for s in find(folder_of(tmp_path, table, files)) if s.facts}
    assert found == {
        "case1.png": (1, ""),
        "case2": (1, "listed in the CSV, but the file is absent"),
        "case2_b.png": (0, ""),
        "case3_c.png": (1, ""),
    }
