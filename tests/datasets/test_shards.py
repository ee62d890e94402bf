"""Records are packed side by side, a shard at a time, into a data set that TFDS reads."""

import json
import os

import pytest

from mammojax.datasets import shards
from mammojax.errors import UserError
from mammojax.images.reading.isolated import CRASHED
from mammojax.runs import locks
from tests.datasets.small_films import FOUR, little, prepared


@pytest.fixture
def many_shards(monkeypatch):
    monkeypatch.setattr(shards, "_LEAST", 1)


def kept(records) -> list[tuple]:
    return [(r.record, records.image(i).sum(), records[i]["label"]) for i, r in enumerate(records.records)]


def files(records):
    index = json.loads((records.directory / "index.json").read_text())
    return sorted((records.directory / index["files"]).glob("*.array_record*"))


@pytest.mark.parametrize(
    "sizes", [[1], [3 << 20] * 7, [40 << 20] * 1000, [1 << 31, 5, 1 << 31], [100] * 9001]
)
def test_every_record_lies_in_one_shard_in_order_and_shards_are_of_a_size(sizes):
    parts = shards.cut(sizes)
    assert [i for part in parts for i in part] == list(range(len(sizes)))
    for part in parts:
        # without its last record a shard is smaller than the largest allowed: one record may be larger than that
        assert len(part) <= 4096 and sum(sizes[i] for i in part[:-1]) < 1 << 30
    assert len(parts) <= max(65, sum(sizes) / (1 << 30) + 1, len(sizes) / 4096 + 1)


def test_the_records_are_the_same_in_one_shard_and_in_many_written_by_workers(tmp_path, monkeypatch):
    source = little(tmp_path, FOUR)
    one = prepared(source, "one")
    monkeypatch.setattr(shards, "_LEAST", 1)
    many = prepared(source, "many", workers=2)
    assert len(files(one)) == 1 and len(files(many)) == 4
    assert kept(one) == kept(many)


def test_only_the_shard_that_is_missing_is_written_again(tmp_path, many_shards, monkeypatch):
    source, written, real = little(tmp_path, FOUR), [], shards.write_shard

    def dies_at_the_third(outcomes, path, *, work):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path.name)
        real(outcomes, path, work=work)

    monkeypatch.setattr(shards, "write_shard", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        prepared(source)
    written.append("and went on")
    assert len(kept(prepared(source))) == 4
    assert sorted(set(written)) == sorted(written) and len(written) == 5


def test_what_another_process_packs_is_left_to_it(tmp_path, many_shards, monkeypatch):
    """A helper takes what is free; it neither waits for the shard that is held nor describes the set before its time."""
    source, real, seen = little(tmp_path, FOUR), shards.write_shards, []

    def one_is_held(name, outcomes, folder, work, **options):
        with locks.try_locked(folder.with_name(f"{folder.name}.shards.files 2")) as mine:
            assert mine
            target = real(name, outcomes, folder, work, **{**options, "wait": False})
            seen.extend(sorted(p.name[-14:] for p in target.iterdir()))
        return real(name, outcomes, folder, work, **options)

    monkeypatch.setattr("mammojax.datasets.pack.write_shards", one_is_held)
    records = prepared(source)
    assert len(kept(records)) == 4
    assert seen == ["00000-of-00004", "00001-of-00004", "00003-of-00004"]


def test_a_helper_that_comes_late_touches_nothing_of_a_finished_set(tmp_path, many_shards, monkeypatch):
    source, real, asked = little(tmp_path, FOUR), shards.write_shards, []
    monkeypatch.setattr(
        "mammojax.datasets.pack.write_shards", lambda *a, **k: asked.append((a, k)) or real(*a, **k)
    )
    records = prepared(source)
    before = {path: path.stat().st_mtime_ns for path in records.directory.rglob("*")}
    (arguments, options) = asked[0]
    real(*arguments, **{**options, "wait": False})
    assert {path: path.stat().st_mtime_ns for path in records.directory.rglob("*")} == before


def test_a_process_that_was_ended_is_one_line(tmp_path, many_shards, monkeypatch):
    monkeypatch.setattr(shards, "write_shard", lambda outcomes, path, work: CRASHED)
    with pytest.raises(UserError, match="was ended, .* start again, with fewer workers"):
        prepared(little(tmp_path, FOUR))


def test_nothing_half_written_is_left_under_a_name_that_counts(tmp_path, many_shards, monkeypatch):
    real = os.fsync

    def full(descriptor):
        if "array_record" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    source = little(tmp_path, FOUR)
    with pytest.raises(UserError, match="No space left"):
        prepared(source)
    assert not list(tmp_path.rglob("*array_record*"))
    monkeypatch.setattr(os, "fsync", real)
    assert len(kept(prepared(source))) == 4
