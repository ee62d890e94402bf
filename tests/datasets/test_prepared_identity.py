"""A prepared set is named by what it holds: not by place, time, salt or order; what changed or was damaged is made anew."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from mammojax.datasets import crop as cropping
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError
from mammojax.runs import stages
from tests.datasets.small_films import FOUR, facts_of, film, ledger_of, little, prepared


def test_a_changed_table_prepares_anew_and_keeps_what_was_there(tmp_path):
    source = little(tmp_path, FOUR)
    first = prepared(source)
    table = source / "table.csv"
    table.write_text(table.read_text().replace("c.png,p1,0", "c.png,p1,1"))
    second = prepared(source)
    assert second.labels.sum() == first.labels.sum() + 1 and second.directory != first.directory
    assert RecordSet(first.directory).labels.tolist() == first.labels.tolist()


def test_the_set_is_named_by_content_not_by_place_time_or_order(tmp_path):
    source = little(tmp_path, FOUR)
    first, lines = prepared(source), []
    copy = little(tmp_path, FOUR[::-1], {}, name="copy")
    for file in source.glob("*.png"):
        shutil.copy(file, copy)
        os.utime(copy / file.name, (1, 1))
    again = prepared(copy, say=lines.append)
    assert again.directory == first.directory and f"prepared set {first.directory.name} is reused" in lines


def test_a_file_replaced_in_place_is_prepared_anew_though_its_size_and_time_are_the_same(tmp_path):
    source = little(tmp_path, [*FOUR, "e.png,p3,0,L,CC"])
    (source / "e.png").write_bytes(pgm(1))
    first = prepared(source)
    stat = (source / "e.png").stat()
    (source / "e.png").write_bytes(pgm(2))
    os.utime(source / "e.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second = prepared(source)
    assert (source / "e.png").stat().st_size == stat.st_size
    assert second.records[4].sha256 != first.records[4].sha256
    assert not np.array_equal(second.image(4), first.image(4))


def pgm(seed: int) -> bytes:
    return b"P5\n16 24\n255\n" + (film(seed, height=24) // 16).astype(np.uint8).tobytes()


def test_no_result_depends_on_the_salt(tmp_path):
    source = little(tmp_path, FOUR)
    first, second = prepared(source, "one"), prepared(source, "two")
    assert first.directory.name == second.directory.name
    assert [r.patient for r in first.records] != [r.patient for r in second.records]
    assert first.patients.tolist() == second.patients.tolist() == [0, 0, 1, 2]
    assert facts_of(first) == facts_of(second)


def test_processes_give_the_same_records_as_none(tmp_path):
    source = little(tmp_path, FOUR)
    alone, together = (prepared(source, to, workers=n, depth=12) for to, n in (("one", 0), ("two", 2)))
    assert facts_of(alone) == facts_of(together)
    assert all(np.array_equal(alone.image(i), together.image(i)) for i in range(len(alone)))


def test_a_file_that_changes_while_the_set_is_made_ends_it_with_one_line(tmp_path, monkeypatch):
    source = little(tmp_path, FOUR)
    real = cropping.read_mammogram

    def then_changed(data, name, **options):
        (source / "b.png").write_bytes(pgm(7))
        return real(data, name, **options)

    monkeypatch.setattr(cropping, "read_mammogram", then_changed)
    with pytest.raises(UserError, match="b.png was changed while the set was prepared; start again"):
        prepared(source)
    monkeypatch.undo()
    assert len(prepared(source)) == 4


@pytest.mark.parametrize("where", ["shard", "index.json"])
def test_a_flipped_bit_is_one_line_that_names_the_file_and_is_made_again(tmp_path, where):
    source = little(tmp_path, FOUR)
    records = prepared(source)
    facts = facts_of(records)
    path = next(records.directory.rglob("*array_record*" if where == "shard" else where))
    data = bytearray(path.read_bytes())
    told = [i for i, byte in enumerate(data) if byte]  # array_record fills up its blocks with zeros
    data[told[len(told) // 2]] ^= 4
    path.write_bytes(data)
    (path.parent / ".DS_Store").write_bytes(b"what a file manager leaves")
    with pytest.raises(stages.Damaged, match=path.name):
        damaged = RecordSet(records.directory)
        [damaged.image(i) for i in range(len(damaged))]
    again = prepared(source)
    assert facts_of(again) == facts and again.image(0).size


def test_a_run_in_the_folder_of_the_films_changes_nothing_of_them(tmp_path):
    source = little(tmp_path, FOUR)
    first = prepared(source, to="source/run/prepared")
    (source / "run" / "figures").mkdir()
    Image.fromarray(film(9, height=24)).save(source / "run" / "figures" / "roc.png")
    for name in ("config.json", "environment.json"):
        (source / "run" / name).write_text("{}")
    again = prepared(source, to="source/run/prepared")
    assert again.directory == first.directory and len(ledger_of(again)) == len(FOUR)
