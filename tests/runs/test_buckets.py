"""Finished stages and sources in a bucket, by a local stand-in of epath's file system: whole or not used, whatever happened."""

from pathlib import Path

import pytest
from etils.epath import backend
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from mammojax.errors import UserError
from mammojax.experiment import crossval
from mammojax.runs import buckets, stages
from mammojax.settings import from_mapping, with_overrides

URL = "gs://bucket/results"
KEY = "0123456789abcdef"
CONTENT = {"parts/a.bin": b"a" * 100, "b": b"bb"}


class StandIn(DirFileSystem):
    """A bucket as a folder: no renaming, no locks, and a write that breaks off leaves what was written."""

    def __init__(self, root):
        super().__init__(path=str(root), fs=LocalFileSystem(auto_mkdir=True))
        self.opened, self.breaks = [], ""

    def _join(self, path):
        return super()._join(path.removeprefix("gs://"))

    def open(self, path, mode="rb", **options):
        self.opened.append((mode, path))
        if "w" in mode and self.breaks and self.breaks in path:
            with super().open(path, mode) as file:
                file.write(b"hal")
            raise OSError("the connection broke")
        return super().open(path, mode, **options)

    def rename(self, *_, **__):
        raise AssertionError("nothing is renamed in a bucket")


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    stand_in = StandIn(tmp_path / "cloud")
    monkeypatch.setattr(backend._FileSystemSpecBackend, "_get_filesystem", lambda self, name: stand_in)
    monkeypatch.setattr(buckets, "_mirror", "")
    buckets.use(URL)
    return stand_in


def make(folder, content=CONTENT):
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return {"n": 1}


def made(machine, make=make):
    """(folder, what was said, how often it was made) on a machine, a folder of its own."""
    said, times = [], []
    folder = stages.made(
        machine, KEY, lambda folder: (times.append(1), make(folder))[1], what="the stage", say=said.append
    )
    return folder, said, len(times)


def bytes_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_stage_is_made_by_one_machine_and_taken_by_another(tmp_path, bucket):
    one, _, _ = made(tmp_path / "one")
    written = [path for mode, path in bucket.opened if "w" in mode]
    assert len(written) == 3 and written[-1] == f"{URL}/stages/{KEY}.json"  # the manifest last
    other, said, times = made(tmp_path / "other")
    assert (times, said) == (0, [f"the stage is taken from {URL}"])
    assert bytes_of(one) == bytes_of(other)
    bucket.opened.clear()
    assert made(tmp_path / "other")[2] == 0
    assert not [path for mode, path in bucket.opened if "w" in mode]


@pytest.mark.parametrize("where", ["files/", "stages/"])
def test_a_copy_that_breaks_off_is_one_line_and_not_used_and_the_next_start_mends_it(tmp_path, bucket, where):
    bucket.breaks = where
    with pytest.raises(UserError, match=r"cannot be written \(the connection broke\); what is made is whole"):
        made(tmp_path / "one")
    bucket.breaks = ""
    assert made(tmp_path / "other")[2] == 1  # as if it were absent
    assert made(tmp_path / "one")[2] == 0  # what was made is whole
    assert made(tmp_path / "third")[2] == 0


@pytest.mark.parametrize("damage", ["emptied", "truncated", "flipped", "removed"])
@pytest.mark.parametrize("kind", ["files", "stages"])
def test_whatever_is_damaged_in_the_bucket_is_not_used_and_written_anew(tmp_path, bucket, kind, damage):
    made(tmp_path / "one")
    for number, path in enumerate(sorted((tmp_path / "cloud/bucket/results" / kind).iterdir())):
        data = path.read_bytes()
        flipped = data[:1] + bytes([data[1] ^ 16]) + data[2:]
        path.write_bytes({"emptied": b"", "truncated": data[:-1], "flipped": flipped}.get(damage, b""))
        if damage == "removed":
            path.unlink()
        folder, _, times = made(tmp_path / f"other {number}")
        assert times == 1 and bytes_of(folder) == bytes_of(tmp_path / "one" / KEY)
        assert path.read_bytes() == data, "mended"


def test_two_machines_whose_bits_differ_leave_one_stage_and_no_mixture(tmp_path, bucket):
    """As on accelerators: both make it before either has copied it, and the copies interleave."""
    other = {"parts/a.bin": b"x" * 100, "b": b"bb"}

    def slow(folder):
        made(tmp_path / "other", lambda folder: make(folder, other))
        return make(folder)

    made(tmp_path / "one", slow)
    third = bytes_of(made(tmp_path / "third")[0])
    assert {name: third[name] for name in CONTENT} in (CONTENT, other)


def test_sources_are_copied_once_and_follow_the_bucket(tmp_path, bucket):
    there = tmp_path / "cloud/films/set"
    make(there)
    said = []

    def fetched(source="gs://films/set"):
        bucket.opened.clear()
        return buckets.fetched(source, tmp_path / "run", say=said.append, track=lambda it, **_: it)

    folder = fetched()
    assert bytes_of(folder) == CONTENT
    assert fetched() == folder and bucket.opened == []
    (there / "b").write_bytes(b"longer")
    (there / "parts/a.bin").unlink()
    assert bytes_of(fetched()) == {"b": b"longer"}
    assert fetched("gs://films/set/b").read_bytes() == b"longer"  # an archive, say
    assert [line.split(" to ")[0] for line in said] == [
        "copying 2 of 2 files of gs://films/set",
        "copying 1 of 1 files of gs://films/set",
        "copying 1 of 1 files of gs://films/set/b",
    ]
    with pytest.raises(UserError, match=r"gs://films/nothing .*read"):
        fetched("gs://films/nothing")


def test_a_machine_with_an_empty_run_directory_takes_the_whole_table(own_run, tmp_path, bucket):
    settings = with_overrides(own_run.settings, {"mirror": URL})
    crossval(settings, say=lambda line: None)  # all is there and copied
    said = []
    again = crossval(with_overrides(settings, {"run": str(tmp_path / "run")}), say=said.append)
    cells = list((Path(settings.run) / "cells").glob("*/stage.json"))
    assert len([line for line in said if line.endswith(f"is taken from {URL}")]) >= len(cells) + 2
    for path in cells:
        for file in path.parent.rglob("*"):
            own = tmp_path / "run" / file.relative_to(settings.run)
            assert file.is_dir() or own.read_bytes() == file.read_bytes()
    assert len(list((again.directory / "cells").glob("*/stage.json"))) == len(cells)


@pytest.mark.parametrize("path", ["run", "data.prepared", "scan.representations"])
def test_nothing_is_worked_on_in_a_bucket(path):
    with pytest.raises(UserError, match=rf"config\.{path} is 'gs://b/r', and neither locks nor renaming"):
        with_overrides(from_mapping({}), {path: "gs://b/r"})


def test_a_mirror_is_a_bucket():
    with pytest.raises(UserError, match="expected gs://BUCKET"):
        from_mapping({"mirror": "/mnt/results"})


def test_a_bucket_whose_client_is_absent_says_what_to_install(tmp_path, monkeypatch):
    def absent(self, name):
        raise ImportError("Please install gcsfs")

    monkeypatch.setattr(backend._FileSystemSpecBackend, "_get_filesystem", absent)
    with pytest.raises(UserError, match=r"gs://films/set .*; pip install 'mammojax\[buckets\]'"):
        buckets.fetched("gs://films/set", tmp_path, say=print, track=lambda it, **_: it)
