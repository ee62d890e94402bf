"""Files whole or not at all, and one line where the disk does not take them."""

import os
import resource
import stat
import threading

import pytest

from mammojax.errors import UserError
from mammojax.runs.files import (
    check_writable,
    filling,
    read_json,
    read_sealed,
    write_json,
    write_sealed,
    writing,
)


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "table.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), writing(path, "w") as file:
        file.write("half")
        raise RuntimeError
    assert read_json(path) == {"a": 1} and os.listdir(tmp_path) == ["table.json"]


def test_a_missing_folder_is_made_and_one_that_cannot_be_is_one_line(tmp_path):
    write_json(tmp_path / "not/there/x.json", {})
    assert read_json(tmp_path / "not/there/x.json") == {}
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=f"cannot write {tmp_path / 'file/x.json'}: .*choose another folder"):
        write_json(tmp_path / "file/x.json", {})


def test_a_folder_in_the_place_of_a_file_is_found_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="it is a folder; give the name of a file in it"), writing(tmp_path):
        raise AssertionError("the block must not begin")


def test_a_full_disk_is_one_line_and_the_old_file_stays(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # stands for a full disk
    try:
        with pytest.raises(UserError, match="cannot write .*x.bin: File too large"), writing(path) as file:
            for _ in range(100):
                file.write(b"x" * 10_000)
        with pytest.raises(UserError, match=f"cannot write {tmp_path}: File too large"), filling(tmp_path):
            (tmp_path / "by_a_library").write_bytes(b"x" * 200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old" and sorted(os.listdir(tmp_path)) == ["by_a_library", "x.bin"]


def test_a_full_disk_is_known_from_the_words_of_libraries_that_raise_something_else(tmp_path):
    words = (
        "write() failed: No space left on device; writing x; at byte 2097152"  # array_record on a full tmpfs
    )
    with (
        pytest.raises(UserError, match=f"cannot write {tmp_path}: No space left on device;"),
        filling(tmp_path),
    ):
        raise RuntimeError(words)
    words = f"Failed to open {tmp_path}/0.npy: Permission denied"
    with pytest.raises(UserError, match=f"cannot write {tmp_path}: Permission denied;"), filling(tmp_path):
        raise ValueError(words)
    with pytest.raises(PermissionError), filling(tmp_path):  # of a picture that is read elsewhere
        raise PermissionError(13, "Permission denied", "/pictures/a.dcm")
    with pytest.raises(RuntimeError, match="a bug of ours"), filling(tmp_path):
        raise RuntimeError("a bug of ours")


def test_what_the_block_itself_cannot_read_is_not_called_a_failed_write(tmp_path):
    with pytest.raises(FileNotFoundError), writing(tmp_path / "x.csv", "w"):
        (tmp_path / "source.csv").open()


def test_writers_of_one_path_at_the_same_time_leave_one_of_their_files(tmp_path):
    barrier = threading.Barrier(8)

    def write(number):
        with writing(tmp_path / ("x" * 240), "w") as file:  # a name with little room for a suffix
            barrier.wait()
            file.write(str(number) * 1000)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (path,) = tmp_path.iterdir()
    text = path.read_text()
    assert len(text) == 1000 and len(set(text)) == 1


def test_a_link_stays_a_link_and_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "link").symlink_to("target")
    write_json(tmp_path / "link", {})
    assert (tmp_path / "link").is_symlink() and read_json(tmp_path / "target") == {}
    (tmp_path / "other").touch()
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "other").stat().st_mode
    )


def test_a_folder_is_tried_and_what_is_in_it_stays(tmp_path):
    """A benchmark that is broken off leaves the measurements of the one before."""
    write_json(tmp_path / "out" / "measurements.csv", {"a": 1})
    check_writable(tmp_path / "out")
    check_writable(tmp_path / "new")
    assert os.listdir(tmp_path / "out") == ["measurements.csv"] and os.listdir(tmp_path / "new") == []
    assert read_json(tmp_path / "out" / "measurements.csv") == {"a": 1}
    with pytest.raises(UserError, match="cannot write"):
        check_writable(tmp_path / "out" / "measurements.csv" / "below")


def test_what_is_no_file_is_written_and_stays(tmp_path):
    """As root, in a container, /dev/null would be a file of the last one who wrote there."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    for text in ("first", "second"):
        with writing(path, "w") as file:
            file.write(text)
        assert os.read(read, 100) == text.encode()
    os.close(read)
    assert stat.S_ISFIFO(path.stat().st_mode) and os.listdir(tmp_path) == ["pipe"]


def test_broken_json_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(UserError, match=r"not valid JSON.*remove it"):
        read_json(tmp_path / "x.json")
    with pytest.raises(UserError, match="absent"):
        read_json(tmp_path / "y.json")


def test_no_bit_of_a_sealed_file_can_change_unseen(tmp_path):
    path = tmp_path / "stage.json"
    write_sealed(path, {"epoch": 7, "name": "naïve"})
    data = path.read_bytes()
    assert read_sealed(path) == {"epoch": 7, "name": "naïve"}
    for position in range(len(data)):
        for bit in range(8):
            path.write_bytes(data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :])
            assert read_sealed(path) is None
        path.write_bytes(data[:position])
        assert read_sealed(path) is None
    assert read_sealed(tmp_path / "none") is None
