"""What is remembered of files never decides what is in them."""

import hashlib
import os
import time

import numpy as np
import pytest
from PIL import Image

from mammojax.datasets import contents as module
from mammojax.datasets.contents import Contents


def plain(items, **_):
    return items


@pytest.fixture
def old_file(tmp_path, monkeypatch):
    path = tmp_path / "film.png"
    path.write_bytes(b"one")
    monkeypatch.setattr(module, "_GRAIN", 0)  # as if the file were older than the clock's grain
    time.sleep(0.05)
    return path


def digest_of(tmp_path, path):
    return Contents(tmp_path / "cache.json").digests([path], workers=0, track=plain)[path]


def test_a_second_start_reads_no_file_again(tmp_path, old_file, monkeypatch):
    first = digest_of(tmp_path, old_file)
    assert first == hashlib.sha256(b"one").hexdigest()
    monkeypatch.setattr(module, "sha256_of", lambda path: pytest.fail("read again"))
    assert digest_of(tmp_path, old_file) == first


def test_a_file_that_was_replaced_in_place_with_the_same_size_and_time_is_read_again(tmp_path, old_file):
    digest_of(tmp_path, old_file)
    stat = old_file.stat()
    time.sleep(0.05)
    old_file.write_bytes(b"two")
    os.utime(old_file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digest_of(tmp_path, old_file) == hashlib.sha256(b"two").hexdigest()


def test_what_was_read_within_the_clocks_grain_of_its_writing_is_not_remembered(tmp_path):
    path = tmp_path / "film.png"
    path.write_bytes(b"one")
    digest_of(tmp_path, path)
    assert "film" not in (tmp_path / "cache.json").read_text()


def test_a_broken_or_unwritable_memory_costs_time_only(tmp_path, old_file):
    (tmp_path / "cache.json").write_text("{broken")
    assert digest_of(tmp_path, old_file) == hashlib.sha256(b"one").hexdigest()
    digest_of(tmp_path, old_file)
    whole = (tmp_path / "cache.json").read_text()
    first = hashlib.sha256(b"one").hexdigest()
    for damaged in (whole.replace(first, "0" + first[1:]), "[]", '{"digests": 3}', "null"):
        (tmp_path / "cache.json").write_text(damaged)
        assert digest_of(tmp_path, old_file) == first
    (tmp_path / "file").write_text("")
    assert digest_of(tmp_path / "file", old_file) == hashlib.sha256(b"one").hexdigest()


def test_a_file_that_cannot_be_read_has_no_digest(tmp_path):
    assert digest_of(tmp_path, tmp_path / "absent") == ""


def test_pictures_that_cannot_tell_a_depth_are_not_decoded(tmp_path, monkeypatch):
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "eight.png")
    (tmp_path / "deep.pgm").write_bytes(b"P5\n2 1\n4095\n\1\2\3\4")
    monkeypatch.setattr(module, "raster_maximum", lambda data: pytest.fail("decoded"))
    files = [(tmp_path / name, name) for name in ("eight.png", "deep.pgm", "absent")]
    assert Contents(tmp_path / "cache.json").depth(files, workers=0, track=plain) == 0


def test_tiffs_have_their_say_in_the_depth(tmp_path):
    Image.fromarray(np.full((8, 8), 5000, np.uint16) + np.arange(8, dtype=np.uint16)).save(tmp_path / "a.tif")
    contents = Contents(tmp_path / "cache.json")
    assert contents.depth([(tmp_path / "a.tif", "a")], workers=0, track=plain) == 14


def deep(folder, *largest):
    """16-bit pictures, each with its largest value: (path, digest) of each."""
    files = []
    for k, value in enumerate(largest):
        picture = np.arange(64, dtype=np.uint16).reshape(8, 8)
        picture[0, 0] = value
        Image.fromarray(picture).save(folder / f"{k}.png")
        files.append((folder / f"{k}.png", str(k)))
    return files


@pytest.fixture
def deep_files(tmp_path):
    """Three 16-bit pictures, the second one of 12 bits."""
    return deep(tmp_path, 1000, 3000, 900)


@pytest.mark.parametrize("often", [0, 60])
def test_what_was_decoded_before_a_stop_or_a_kill_is_not_decoded_again(
    tmp_path, deep_files, monkeypatch, often
):
    monkeypatch.setattr(module, "_OFTEN", often)
    kept = []

    def stopped(items, **_):
        for item in items:
            yield item
            kept.append((tmp_path / "cache.json").is_file())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Contents(tmp_path / "cache.json").depth(deep_files, workers=0, track=stopped)
    assert kept == [often == 0]  # a kill would have left it
    decoded, real = [], module.raster_maximum
    monkeypatch.setattr(module, "raster_maximum", lambda data: decoded.append(data) or real(data))
    assert Contents(tmp_path / "cache.json").depth(deep_files, workers=0, track=plain) == 12
    assert len(decoded) == 2


def test_a_picture_that_could_not_be_read_once_has_its_say_the_next_time(tmp_path, deep_files, monkeypatch):
    def refused(data):
        raise MemoryError

    with monkeypatch.context() as here:
        here.setattr(module, "raster_maximum", refused)
        assert Contents(tmp_path / "cache.json").depth(deep_files, workers=0, track=plain) == 0
    assert Contents(tmp_path / "cache.json").depth(deep_files, workers=0, track=plain) == 12


def test_depth_is_that_of_all_rasters_together(tmp_path):
    files = deep(tmp_path, 1000, 1100, 3000)
    (tmp_path / "x.dcm").write_bytes(b"no raster")
    files.append((tmp_path / "x.dcm", "x"))
    contents = Contents(tmp_path / "cache.json")
    assert contents.depth(files, workers=0, track=plain) == 12
    assert contents.depth(files[:1], workers=0, track=plain) == 10  # a set of its own
    assert contents.depth(files[3:], workers=0, track=plain) == 0
