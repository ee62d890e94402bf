"""The builder for a folder and a CSV."""

import pytest

from mammojax.datasets.builders.folder import Folder
from mammojax.errors import UserError

COLUMNS = {
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


def find(folder, **changes):
    return Folder.find(folder, folder / "work", **(COLUMNS | changes))


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
    with pytest.raises(UserError, match="0 CSV files.*config.data.folder.csv"):
        find(tmp_path)
    with pytest.raises(UserError, match="columns a, b; expected path"):
        find(folder_of(tmp_path, "a,b\n1,2\n"))
