"""Archives as other programs pack them."""

import io
import tarfile
import zipfile

import pytest

from mammojax.datasets.layout import files_below, opened, plain

NAMES = ("set/INbreast.csv", "set/AllDICOMs/a.dcm", "set/1.2.840.7", "set/IM0001", "set/tool.exe")


def unpacked(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    return opened(tmp_path / name, tmp_path / "unpacked", say=lambda text: None)


def zipped(separator: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name in NAMES:
            member = zipfile.ZipInfo("x")
            member.filename = name.replace("/", separator)
            packed.writestr(member, name)
    return buffer.getvalue()


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_slashes_of_windows_are_slashes_and_pictures_need_no_suffix(tmp_path, separator):
    folder = unpacked(tmp_path, "set.zip", zipped(separator))
    found = {name: (folder / name).read_text() for name in files_below(folder) if name.startswith("set/")}
    assert found == {name: name for name in NAMES[:-1]}


def test_second_names_of_a_file_in_a_tar_are_files_and_links_out_of_it_are_not(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        member = tarfile.TarInfo("a.png")
        member.size = 5
        packed.addfile(member, io.BytesIO(b"bytes"))
        for name, kind, target in (
            ("b.png", tarfile.LNKTYPE, "a.png"),
            ("c.png", tarfile.SYMTYPE, "/etc/hosts"),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            packed.addfile(member)
    folder = unpacked(tmp_path, "set.tar.gz", buffer.getvalue())
    assert (folder / "b.png").read_bytes() == b"bytes" and not (folder / "c.png").exists()


def test_identifiers_are_compared_without_case_and_a_spreadsheets_decimal():
    assert (
        plain(" 462822612.0 ") == "462822612" and plain("AbC") == "abc" and plain("1.2.840.0") == "1.2.840.0"
    )
    assert plain("007") == "007" and plain("462822612,0") == "462822612" and plain("1,000") == "1,000"
