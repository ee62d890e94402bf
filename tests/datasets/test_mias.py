"""The mini-MIAS builder on files of its form, and on the real Info.txt."""

import io
import tarfile

import numpy as np
import pytest

from mammojax.datasets.builders.mias import Mias, read_info
from mammojax.errors import UserError

INFO = """INFORMATION ABOUT THE FILMS
mdb001 G CIRC B 535 425 197
mdb002 G CIRC M 522 280 69
mdb003 D NORM
mdb004 F CALC M *NOTE 3*
mdb004 F CIRC B 477 133 30
mdb005 F CIRC B 477 133
"""


def pgm(value: int) -> bytes:
    return b"P5\n8 8\n255\n" + bytes([value]) * 64


def archive_of(folder, names=("mdb001", "mdb002", "mdb003", "mdb004", "mdb005")):
    with tarfile.open(folder / "all-mias.tar.gz", "w:gz") as tar:
        members = {f"./{n}.pgm": pgm(7) for n in names} | {
            "Info.txt": INFO.encode(),
            "../../evil.pgm": b"x",
            "README": b"prose",
        }
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def test_rows_count_from_the_top_and_malformed_places_are_no_lesions():
    images = read_info(INFO)
    assert images["mdb001"][0] == {
        "tissue": "G",
        "kind": "CIRC",
        "severity": "B",
        "row": 1023 - 425,
        "column": 535,
        "radius": 197,
    }
    assert [f["severity"] for f in images["mdb004"]] == ["M", "B"] and "row" not in images["mdb004"][0]
    assert "row" not in images["mdb005"][0] and images["mdb003"][0]["kind"] == "NORM"


def test_packed_and_unpacked_archives_give_the_same_images_and_labels(tmp_path):
    packed = tmp_path / "packed"
    packed.mkdir()
    archive_of(packed)
    found = Mias.find(packed, tmp_path / "work")
    assert [s.file for s in found] == [f"mdb00{k}.pgm" for k in range(1, 6)]
    assert [s.facts.malignant for s in found] == [False, True, False, True, False]  # the worst finding counts
    assert [s.facts.abnormal for s in found] == [True, True, False, True, True]
    assert [s.patient for s in found] == ["mias-001", "mias-001", "mias-002", "mias-002", "mias-003"]
    assert not (tmp_path / "evil.pgm").exists() and not (tmp_path.parent / "evil.pgm").exists()
    (unpacked,) = (tmp_path / "work").iterdir()
    again = Mias.find(unpacked, tmp_path / "elsewhere")
    assert [(s.file, s.facts) for s in again] == [(s.file, s.facts) for s in found]


def test_another_archive_is_unpacked_anew_though_its_files_have_the_same_sizes(tmp_path):
    archive_of(tmp_path)
    first = Mias.find(tmp_path, tmp_path / "work")[0].path.read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    with tarfile.open(other / "all-mias.tar.gz", "w:gz") as tar:
        for name, data in {"mdb001.pgm": pgm(8), "Info.txt": INFO.encode()}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    second = Mias.find(other, tmp_path / "work")[0].path.read_bytes()
    assert first == pgm(7) and second == pgm(8)


def test_an_image_without_file_and_a_file_without_line_are_both_listed(tmp_path):
    archive_of(tmp_path, names=("mdb001", "mdb009"))
    found = {s.file: s for s in Mias.find(tmp_path, tmp_path / "work")}
    assert found["mdb002.pgm"].missing.startswith("listed in Info.txt")
    assert found["mdb009.pgm"].facts.malignant is None


def test_a_folder_of_another_kind_says_what_is_lacking_and_how_to_get_it(tmp_path):
    (tmp_path / "picture.dcm").write_bytes(b"")
    with pytest.raises(UserError, match="not mini-MIAS: Info.txt is absent; download"):
        Mias.find(tmp_path, tmp_path / "work")


def test_a_broken_archive_is_a_one_line_error(tmp_path):
    archive_of(tmp_path)
    data = (tmp_path / "all-mias.tar.gz").read_bytes()
    (tmp_path / "all-mias.tar.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="cannot be unpacked"):
        Mias.find(tmp_path, tmp_path / "work")


def test_the_real_table_has_the_published_findings(shared):
    with tarfile.open(shared / "data/mias/all-mias.tar.gz") as tar:
        text = tar.extractfile("Info.txt").read().decode("latin-1")
    images = read_info(text)
    assert len(images) == 196 and sum(map(len, images.values())) == 200
    assert sum("row" in f for findings in images.values() for f in findings) == 73
    kinds = [{f["severity"] for f in findings} for findings in images.values()]
    malignant = sum("M" in k for k in kinds)
    normal = sum(k == {""} for k in kinds)
    assert (normal, malignant, len(images) - normal - malignant) == (124, 32, 40)
    assert np.median([f["radius"] for fs in images.values() for f in fs if "row" in f]) < 100


def test_the_films_may_lie_a_folder_deeper_and_in_capitals(tmp_path):
    deep = tmp_path / "set" / "all-mias"
    deep.mkdir(parents=True)
    (deep / "INFO.TXT").write_text(INFO)
    (deep / "MDB001.PGM").write_bytes(pgm(7))
    found = {s.file: s for s in Mias.find(tmp_path / "set", tmp_path / "work")}
    assert found["mdb001.pgm"].path == deep / "MDB001.PGM" and not found["mdb001.pgm"].missing
    (tmp_path / "set" / "other").mkdir()
    (tmp_path / "set" / "other" / "Info.txt").write_text(INFO)
    with pytest.raises(UserError, match="Info.txt is absent"):
        Mias.find(tmp_path / "set", tmp_path / "work")


def test_the_films_may_lie_below_the_table_and_a_second_file_of_a_film_is_accounted_for(tmp_path):
    """As copies of the set have it: Info.txt, and a folder all-mias beside it."""
    root = tmp_path / "set"
    for name in ("all-mias/mdb001.pgm", "all-mias/mdb002.pgm", "all-mias/old/mdb001.pgm"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(pgm(7))
    (root / "Info.txt").write_text(INFO)
    found = {s.file: s for s in Mias.find(root, tmp_path / "work")}
    assert found["mdb001.pgm"].path == root / "all-mias/mdb001.pgm" and found["mdb002.pgm"].facts.malignant
    assert found["all-mias/old/mdb001.pgm"].left_out and len(found) == 6
    with tarfile.open(tmp_path / "copy.tar", "w") as tar:
        tar.add(root, ".")
    (tmp_path / "folder").mkdir()
    (tmp_path / "copy.tar").rename(tmp_path / "folder" / "copy.tar")  # a folder that holds the archive alone
    packed = Mias.find(tmp_path / "folder", tmp_path / "work")
    assert [(s.file, s.missing) for s in packed] == [
        (s.file, s.missing) for s in found.values() if not s.left_out
    ]
