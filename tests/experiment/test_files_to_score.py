"""Which files of a folder get a row, and what their readings are kept under."""

import os

from mammojax.experiment.predict import _digest, files_of


def test_every_picture_of_a_folder_has_a_row_also_behind_links(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for path in (
        here / "b.png",
        here / "sub" / "a.dcm",
        here / "notes.txt",
        here / "._b.png",
        there / "c.PNG",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (here / "linked").symlink_to(there)
    (here / "loop").symlink_to(here)
    (here / "gone.dcm").symlink_to(tmp_path / "nowhere")
    os.mkfifo(here / "pipe.png")
    assert [file.name for file in files_of([str(here)])] == ["b.png", "gone.dcm", "linked/c.PNG", "sub/a.dcm"]


def test_one_picture_under_names_of_two_sides_is_read_twice_and_under_others_once(tmp_path):
    keys = {}
    for name in ("p_L_CC.png", "p_R_CC.png", "copy_L_CC.png", "plain.png", "other.png"):
        (tmp_path / name).write_bytes(b"the same")
        keys[name] = _digest(tmp_path / name)
    assert keys["p_L_CC.png"] == keys["copy_L_CC.png"] and keys["plain.png"] == keys["other.png"]
    assert len(set(keys.values())) == 3 and _digest(tmp_path / "none.png") is None
