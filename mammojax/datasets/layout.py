"""A data set's folder as it lies on a disk: packed or unpacked, every file once, originals beside copies of them."""

import functools
import os
import posixpath
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mammojax.errors import UserError
from mammojax.images.reading.any_file import IMAGE_SUFFIXES, is_image_file
from mammojax.runs.files import sha256_of, writing
from mammojax.runs.stages import key, made

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
TABLES = (".csv", ".xls", ".xlsx", ".xml", ".txt")
_COMPRESSED_WORDS = "download it again, or unpack it yourself and give the folder"
_BEST_FIRST = (".dcm", ".dicom", "", ".tif", ".tiff", ".png", ".pgm", ".jpg", ".jpeg")


def whole(name: str) -> str:
    """Where a member of an archive goes: pictures and tables, and what may be a picture, under their own names, nothing else
    ("")."""
    suffix = posixpath.splitext(name)[1]  # DICOM files are also named by UIDs, or have none
    return name if suffix.lower() in (*IMAGE_SUFFIXES, *TABLES, "") or suffix[1:].isdigit() else ""


def opened(
    source: Path, workspace: Path, *, say: Callable[[str], None], place: Callable[[str], str] = whole
) -> Path:
    """The folder of a data set that is given as a folder, an archive, or a folder that holds one archive and no folders.

    An archive is unpacked once, into a folder of `workspace` that is named by its bytes. place(name of a member) is
    where it goes below that folder, "" for what is not wanted; what would leave the folder is left out.
    Raises UserError for what is absent or cannot be unpacked.
    """
    archive = _archive_of(source)
    if archive is None:
        if not source.is_dir():
            what = "is neither a folder nor an archive" if source.exists() else "is absent"
            raise UserError(f"{source} {what}; give the folder or the archive of the data set")
        return source
    unpack = functools.partial(_unpack, archive, place)
    stage_key = key(archive=sha256_of(archive), form=2)
    return made(workspace, stage_key, unpack, what=f"{archive.name}, unpacked,", say=say, mirrored=False)


def _archive_of(source: Path) -> Path | None:
    if source.is_file():
        return source if source.name.lower().endswith(ARCHIVES) else None
    if not source.is_dir():
        return None
    entries = [p for p in source.iterdir() if not p.name.startswith(".")]
    archives = [p for p in entries if p.is_file() and p.name.lower().endswith(ARCHIVES)]
    lone = len(archives) == 1 and not any(p.is_dir() or is_image_file(p) for p in entries)
    return archives[0] if lone else None


def _unpack(archive: Path, place: Callable[[str], str], folder: Path) -> dict:
    """Unpacks what is wanted; the facts of the stage. Members that a killed start has unpacked are not taken again."""
    try:
        with _members(archive) as members:
            for name, size, open_member in members:
                target = posixpath.normpath(place(name) or ".")
                if target == "." or target.startswith(("/", "../")):
                    continue
                path = folder / target
                if path.is_file() and path.stat().st_size == size:
                    continue
                with open_member() as member, writing(path) as file:
                    while block := member.read(1 << 20):
                        file.write(block)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        zlib.error,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise UserError(f"{archive} cannot be unpacked ({error}); {_COMPRESSED_WORDS}") from error
    except OSError as error:
        if error.filename is not None:  # of a file that was to be written
            raise
        raise UserError(f"{archive} cannot be unpacked ({error}); {_COMPRESSED_WORDS}") from error
    return {"archive": archive.name}


@contextmanager
def _members(archive: Path) -> Iterator[Iterable[tuple[str, int, Callable[[], IO[bytes]]]]]:
    """(name, bytes, how to open it) of every plain file in an archive."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            yield (
                (_slashed(member.filename), member.file_size, functools.partial(packed.open, member))
                for member in packed.infolist()
                if not member.is_dir()
            )
    else:
        with tarfile.open(archive) as packed:
            yield (
                (_slashed(member.name), member.size, functools.partial(packed.extractfile, member))
                for member in packed
                if member.isfile() or member.islnk()  # a second name of a file before it
            )


def _slashed(name: str) -> str:
    """A member's name with the slashes of archives, which some programs of Windows do not write."""
    return name if "/" in name else name.replace("\\", "/")


def files_below(folder: Path) -> Iterator[str]:
    """The path of every file below a folder, relative to it; hidden ones are left out.

    Links to folders elsewhere are followed, each folder once; links to folders below or above this one are not. Runs and
    prepared sets that lie in the folder are no part of it.
    """
    root = os.path.join(folder, "")
    home, elsewhere = os.path.realpath(root), set()

    def leads_on(path: str) -> bool:
        if not os.path.islink(path):
            return True
        target = os.path.realpath(path)
        inside = any(os.path.commonpath((target, home)) == known for known in (target, home))
        new = not inside and target not in elsewhere
        elsewhere.add(target)
        return new

    for parent, folders, files in os.walk(root, followlinks=True):
        if parent != root and _is_ours(folders, files):
            folders.clear()
            continue
        folders[:] = [
            name
            for name in sorted(folders)
            if not name.startswith(".") and leads_on(os.path.join(parent, name))
        ]
        below = parent[len(root) :].replace(os.sep, "/").rstrip("/")
        prefix = f"{below}/" if below else ""
        for name in sorted(files):
            if not name.startswith("."):
                yield prefix + name


def _is_ours(folders: list[str], files: list[str]) -> bool:
    """Whether what lies in a folder is a run, or prepared sets, each in a folder named by its key."""
    keyed = any(re.fullmatch(r"[0-9a-f]{16}", name) for name in folders)
    return {"config.json", "environment.json"} <= set(files) or ("contents.json" in files and keyed)


def pictures(folder: Path, names: Iterable[str]) -> list[str]:
    """Those of the files below a folder that are pictures, in the order of names."""
    return sorted(name for name in names if is_image_file(folder / name))


def stem(name: str) -> str:
    """The last part of a path without its suffixes of pictures: `x.dcm.png` is x."""
    last = name.rpartition("/")[2]
    while last.lower().endswith(IMAGE_SUFFIXES):
        last = last.rpartition(".")[0]
    return last


def plain(identifier: str) -> str:
    """What the identifier of an image is compared by: tables and copies change letters' case, spreadsheets add a decimal."""
    number = re.fullmatch(r"(\d+)(?:\.0*|,0)", identifier.strip())
    return number[1] if number else identifier.strip().casefold()


class ByImage:
    """Files by the identifier of the image that they show, as rows of a table ask for them, several rows of one image too."""

    def __init__(self, identified: Iterable[tuple[str, str]]):
        """identified: (identifier, file) of every picture."""
        self._files: dict[str, list[str]] = {}
        self._asked: set[str] = set()
        for identifier, file in identified:
            self._files.setdefault(plain(identifier), []).append(file)

    def files(self, identifier: str) -> list[str]:
        """Those of an image, the best first; none if there are none."""
        self._asked.add(plain(identifier))
        return best_first(self._files.get(plain(identifier), ()))

    def unlisted(self) -> list[str]:
        """Those of images that no row has asked for."""
        return [file for image, files in self._files.items() if image not in self._asked for file in files]


def best_first(names: Iterable[str]) -> list[str]:
    """Files of one picture, the published DICOM file before copies of it, then by name."""
    order = {suffix: rank for rank, suffix in enumerate(_BEST_FIRST)}
    return sorted(names, key=lambda name: (order.get(Path(name).suffix.lower(), 2), name))


def copy_note(path: Path) -> tuple[str, ...]:
    """What is lost where a set that was published as DICOM lies as other files: a warning, or none for DICOM.

    Told by the first bytes; a file that cannot be read has none, since it will be rejected.
    """
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return ()
    if start.startswith(b"\x89PNG"):
        form, deep = "a PNG copy", start[24:25] == b"\x10"
    elif start.startswith(b"\xff\xd8\xff"):
        form, deep = "a JPEG copy", False
    elif start[:4] in (b"II*\0", b"MM\0*") and start[128:132] != b"DICM":
        form, deep = "a TIFF copy", True
    else:
        return ()
    lost = "its header is lost" if deep else "its depth (8 bits are left) and its header are lost"
    return (f"{form} of the published DICOM file: {lost}",)
