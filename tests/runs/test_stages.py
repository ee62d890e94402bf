"""Stages in folders named by their key: reused, never mixed, damage seen, set aside and mended."""

import json
import os
import socket
import threading

import pytest

from mammojax.errors import UserError
from mammojax.runs import locks, stages
from mammojax.runs.environment import record_settings
from mammojax.runs.files import read_json, writing

KEY = "0123456789abcdef"


def make(folder):
    """A stage with a file in a folder of its own, an empty one and scratch."""
    for name, data in (("parts/a.bin", b"a" * 100), ("empty", b""), (f"{stages.WORK}/crop", b"scratch")):
        with writing(folder / name) as file:
            file.write(data)
    return {"epoch": 3, "shape": (2, 3), "by_fold": {10: 0.5, 9: None}}


def made(parent, **options):
    lines = []
    options = {"make": make, "say": lines.append} | options
    return stages.made(parent, KEY, what="the stage", **options), lines


def unused(folder):
    raise AssertionError("made again")


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_the_key_depends_on_values_and_not_on_order():
    assert stages.key(a=1, b=[2, 3]) == stages.key(b=[2, 3], a=1)
    assert stages.key(a=1, b=[2, 3]) != stages.key(a=1, b=[3, 2])


def test_a_finished_stage_has_its_facts_and_files_and_no_scratch_and_is_reused(tmp_path):
    folder, lines = made(tmp_path)
    assert folder == tmp_path / KEY and lines == []
    assert stages.finished(folder) == {"epoch": 3, "shape": [2, 3], "by_fold": {"10": 0.5, "9": None}}
    assert names(tmp_path) == [f"{KEY}/{n}" for n in ("empty", "parts/a.bin", "stage.json")]  # and no lock
    assert made(tmp_path, make=unused) == (folder, ["the stage is reused"])
    assert stages.finished(tmp_path) is None and stages.finished(tmp_path / "none") is None


def test_an_unfinished_stage_goes_on_from_what_is_there(tmp_path):
    def fails(folder):
        make(folder)
        (folder / ".a.bin.12345678.partial").write_text("left by a killed start")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        made(tmp_path, make=fails)
    assert stages.finished(tmp_path / KEY) is None

    def goes_on(folder):
        assert (folder / stages.WORK / "crop").read_bytes() == b"scratch"
        return {}

    folder, _ = made(tmp_path, make=goes_on)
    assert names(folder) == ["empty", "parts/a.bin", "stage.json"]


def test_a_removal_of_scratch_that_was_cut_short_ends_at_the_next_start(tmp_path):
    folder, _ = made(tmp_path)
    (folder / stages.WORK).mkdir()
    (folder / stages.WORK / "rest").write_text("x")
    made(tmp_path, make=unused)
    assert not (folder / stages.WORK).exists()


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "emptied": lambda p: p.write_bytes(b""),
    "truncated": lambda p: p.write_bytes(p.read_bytes()[:-1]),
    "flipped": flipped,
    "removed": lambda p: p.unlink(),
}


@pytest.mark.parametrize("name", ["parts/a.bin", "stage.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_and_the_stage_set_aside_and_made_again(tmp_path, name, damage):
    folder, _ = made(tmp_path)
    for number in (1, 2):
        DAMAGES[damage](folder / name)
        left = names(folder)
        again, lines = made(tmp_path)
        if (name, damage) == ("stage.json", "removed"):  # the same as not finished: it goes on
            assert lines == []
        else:
            assert len(lines) == 1 and lines[0].startswith(str(folder / name))
            assert lines[0].endswith(f"the damaged folder is kept as {KEY}.damaged-{number}")
            assert names(tmp_path / f"{KEY}.damaged-{number}") == left
        assert again == folder and (folder / "parts/a.bin").read_bytes() == b"a" * 100
        assert made(tmp_path, make=unused)[1] == ["the stage is reused"]


def test_a_flipped_byte_in_a_large_stage_is_found_when_the_file_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "SMALL", 10)
    folder, _ = made(tmp_path)
    assert stages.verified(folder, "parts/a.bin") == folder / "parts/a.bin"
    flipped(folder / "parts/a.bin")
    assert made(tmp_path, make=unused)[1] == ["the stage is reused"]  # its sizes are right
    with pytest.raises(stages.Damaged, match=r"a\.bin is damaged .* kept in .*damaged-1; start again"):
        stages.verified(folder, "parts/a.bin")
    made(tmp_path)
    assert stages.verified(folder, "parts/a.bin").read_bytes() == b"a" * 100
    with pytest.raises(UserError, match="not finished"):
        stages.verified(tmp_path / "none", "a")


def test_a_file_that_the_stage_did_not_write_is_not_verified(tmp_path):
    folder, _ = made(tmp_path)
    (folder / "foreign").write_text("x")
    assert made(tmp_path, make=unused)[1] == ["the stage is reused"]  # a file beside does no harm
    with pytest.raises(UserError, match="foreign is not a file of this stage"):
        stages.verified(folder, "foreign")
    assert made(tmp_path, make=unused)[0] == folder  # who asks for the wrong thing has damaged nothing


def test_a_stage_under_another_stages_name_is_not_taken_for_it(tmp_path):
    folder, _ = made(tmp_path)
    folder.rename(tmp_path / "other")
    lines = []
    stages.made(tmp_path, "other", make, what="the other", say=lines.append)
    assert lines[0].startswith(f"{tmp_path / 'other' / 'stage.json'} is damaged")


def test_while_another_makes_it_one_takes_other_work_or_waits_and_says_once_for_whom(tmp_path):
    found = []
    waiting = threading.Thread(target=lambda: found.append(made(tmp_path, make=unused, say=said)))
    heard = threading.Event()
    lines = []

    def said(line):
        lines.append(line)
        heard.set()

    def looks(folder):
        assert stages.made(tmp_path, KEY, unused, what="the stage", say=said, wait=False) is None
        assert lines == []
        waiting.start()
        assert heard.wait(60)
        return make(folder)

    folder, _ = made(tmp_path, make=looks)
    waiting.join()
    who = f"process {os.getpid()} on {socket.gethostname()}"
    assert lines == [f"the stage is being made by {who}; waiting for it", "the stage is reused"]
    assert found[0][0] == folder


def test_a_finished_run_on_a_read_only_disk_is_reused(tmp_path, monkeypatch):
    folder, _ = made(tmp_path)
    record_settings(tmp_path, {"a": 1})
    (folder / stages.WORK).mkdir()  # as if killed while it was removed
    before = names(tmp_path)
    opened = os.open

    def read_only(path, flags, *rest, **options):
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            raise OSError(30, "Read-only file system")
        return opened(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", read_only)  # tests may run as root, whom no permission stops
    assert made(tmp_path, make=unused)[1] == ["the stage is reused"]
    record_settings(tmp_path, {"a": 2})
    with pytest.raises(UserError, match="cannot lock .*Read-only file system; .* choose another folder"):
        stages.made(tmp_path, "another", unused, what="another", say=print)
    (folder / "parts/a.bin").write_bytes(b"")
    with pytest.raises(stages.Damaged, match=r"a\.bin is damaged .*Read-only"):
        made(tmp_path, make=unused)
    assert names(tmp_path) == before


def test_changed_settings_keep_the_old_ones_whole_or_broken(tmp_path):
    record_settings(tmp_path, {"epochs": 1, "arms": ("a", "b")})
    record_settings(tmp_path, {"epochs": 1, "arms": ("a", "b")})
    record_settings(tmp_path, {"epochs": 2, "arms": ("a", "b")})
    (old,) = tmp_path.glob("config.was-*.json")
    assert json.loads(old.read_text())["epochs"] == 1
    (tmp_path / "config.json").write_text("{")
    record_settings(tmp_path, {"epochs": 2, "arms": ("a", "b")})
    assert {p.read_text() for p in tmp_path.glob("config.was-*.json")} == {"{", old.read_text()}
    assert read_json(tmp_path / "config.json")["epochs"] == 2


def test_a_lock_whose_file_another_machine_has_removed_is_no_lock_though_the_client_remembers_it(
    tmp_path, monkeypatch
):
    """NFS answers `stat` from its memory for up to a minute; what is opened is asked of the server."""
    file = tmp_path / ".thing.lock"
    held = os.open(file, os.O_RDWR | os.O_CREAT)
    remembered = os.stat(file)
    assert locks._is_at(file, held)
    file.unlink()
    monkeypatch.setattr(locks.os, "stat", lambda path: remembered)
    assert not locks._is_at(file, held)
    file.touch()  # the lock of the next holder
    assert not locks._is_at(file, held)
    os.close(held)
