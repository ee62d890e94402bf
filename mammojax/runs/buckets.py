"""Buckets (gs://, s3://), where a rename is a copy and no lock holds: finished stages are kept there, and sources read from there.

All work lies in local folders, whose guarantees stand. A finished stage goes into the mirror file by file, each under the
SHA-256 of its bytes, and its manifest last: who sees a manifest has all of its files, and any number of machines may write
the same stage at once, since equal names hold equal bytes. What comes back is compared with the manifest, and a stage that
is not whole there is made as if it were absent.

    MIRROR/files/SHA256          MIRROR/stages/KEY.json
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from mammojax.errors import UserError
from mammojax.runs import locks, stopping
from mammojax.runs.files import sealed_text, sha256_of, unsealed, writing
from mammojax.settings.rules import BUCKETS

_PIECE = 1 << 20  # bytes

_mirror = ""


class _Wrong(Exception):
    """A file in the bucket is not what its manifest says."""


def is_bucket(place: str) -> bool:
    """Whether a place is in a bucket rather than a folder of this machine."""
    return place.startswith(BUCKETS)


def use(mirror: str) -> None:
    """From now on finished stages of this process are copied to this bucket and taken from it; "" for none."""
    global _mirror
    _mirror = mirror.rstrip("/")


def mirror() -> str:
    """Where finished stages are kept, "" for nowhere."""
    return _mirror


def holds(key: str) -> bool:
    """Whether the mirror has a manifest of this stage."""
    return _read(_place("stages", f"{key}.json")) is not None


def take(folder: Path, *, say: Callable[[str], None]) -> dict | None:
    """The manifest of the stage of this folder's name, its files now in `folder`; None if the mirror has none that is whole.

    Raises UserError if the bucket cannot be read.
    """
    place = _place("stages", f"{folder.name}.json")
    text = _read(place)
    if text is None:
        return None
    manifest = unsealed(text)
    try:
        if manifest is None or manifest["key"] != folder.name:
            raise _Wrong("its manifest is damaged")
        for name, (size, digest) in manifest["files"].items():
            stopping.check()
            _copy(_place("files", digest), _within(folder, name), size=size, digest=digest)
    except _Wrong as fault:
        say(f"{place} is not used: {fault}; it is made again")
        return None
    return manifest


def put(folder: Path, manifest: dict, *, made: bool) -> None:
    """Keeps a finished stage in the mirror; the manifest comes last. made: just now, since the mirror had none that is whole;
    otherwise a manifest that is there is enough. Raises UserError if the bucket cannot be written: the stage is whole in
    its folder all the same."""
    place = _place("stages", f"{folder.name}.json")
    try:
        if not made and _read(place) == sealed_text(manifest):
            return
        for name, (size, digest) in manifest["files"].items():
            stopping.check()
            to = _place("files", digest)
            # one that was cut short in a store that shows half-written files, or flipped, is written anew
            if not (to.exists() and to.stat().length == size and _digest(to) == digest):
                with (folder / name).open("rb") as file, to.open("wb") as out:
                    shutil.copyfileobj(file, out, _PIECE)
        with place.open("wb") as out:
            out.write(sealed_text(manifest).encode())
    except Exception as error:
        _refused(
            "written", place, error, f"what is made is whole in {folder}, and the same command copies it"
        )


def fetched(source: str, folder: Path, *, say: Callable[[str], None], track: Callable) -> Path:
    """The files (or the one file) of a bucket's folder as a folder (or file) of this machine, below `folder`; copied once.

    A file that is there with the same size is not read again, and one that has gone from the bucket goes here too. Any
    number of processes may call it. Raises UserError for a bucket that is empty or cannot be read.
    """
    below = (
        folder / f"{source.rstrip('/').rsplit('/', 1)[-1]}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    )
    with locks.locked(below, what=f"the copy of {source}", say=say):
        there = {}
        try:
            root = _path(source)
            single = not root.is_dir()
            for path in [root] if single else _files(root):
                name = path.name if single else path.relative_to(root).as_posix()
                there[name] = (path, path.stat().length)
        except Exception as error:
            _refused("read", source, error, "look at its name and your rights")
        if not there:
            raise UserError(f"{source} is empty or absent; give the folder or the archive of the data set")
        for path in sorted(below.rglob("*")):
            if path.is_file() and path.relative_to(below).as_posix() not in there:
                path.unlink()
        lacking = {}
        for name, (path, size) in there.items():
            own = below / name
            if ".." in own.parts:
                raise UserError(f"{path}: its name leads out of the folder; rename it")
            if not own.is_file() or own.stat().st_size != size:
                lacking[own] = (path, size)
        if lacking:
            say(f"copying {len(lacking)} of {len(there)} files of {source} to {below}")
        for own, (path, size) in track(lacking.items(), total=len(lacking), description="copying"):
            stopping.check()
            try:
                _copy(path, own, size=size)
            except _Wrong as fault:
                raise UserError(f"{path}: {fault}; it changes while it is copied? start again") from fault
    return below / root.name if single else below


def _path(place: str):
    from etils import epath  # only where a bucket is asked for

    return epath.Path(place)


def _place(*parts: str):
    return _path("/".join((_mirror, *parts)))


def _within(folder: Path, name: str) -> Path:
    """A file's place below a folder; a name from outside must not lead out of it."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise _Wrong(f"the name {name!r} leads out of it")
    return folder / name


def _files(folder) -> list:
    """All below it. (epath's own `walk` loses the scheme of what it finds.)"""
    found = []
    for path in sorted(folder.iterdir()):
        found += _files(path) if path.is_dir() else [path]
    return found


def _read(place) -> str | None:
    """The text of an object, None if there is none."""
    try:
        with place.open("rb") as file:
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    except Exception as error:
        _refused("read", place, error, "look at config.mirror and your rights")


def _digest(place) -> str:
    found = hashlib.sha256()
    with place.open("rb") as file:
        while piece := file.read(_PIECE):
            found.update(piece)
    return found.hexdigest()


def _copy(place, path: Path, *, size: int, digest: str = "") -> None:
    """An object as a file, whole or not at all; _Wrong if it has another size, or bytes. One that is there is kept."""
    if digest and path.is_file() and path.stat().st_size == size and sha256_of(path) == digest:
        return
    found, length = hashlib.sha256(), 0
    with writing(path) as out:
        try:
            with place.open("rb") as file:
                while piece := file.read(_PIECE):
                    found.update(piece)
                    length += len(piece)
                    out.write(piece)
        except FileNotFoundError:
            raise _Wrong(f"{place.name} is missing") from None
        if length != size:
            raise _Wrong(f"{place.name} has {length} bytes, expected {size}")
        if digest and found.hexdigest() != digest:
            raise _Wrong(f"{place.name} is not what was written")


def _refused(done: str, place, error: Exception, remedy: str) -> NoReturn:
    """What a client of a bucket raises as one line; each has errors of its own."""
    if isinstance(error, (UserError, _Wrong)):
        raise error
    if isinstance(error, ImportError):  # the client of this kind of bucket
        remedy = "pip install 'mammojax[buckets]'"
    what = " ".join(str(error).split())[:200] or type(error).__name__
    raise UserError(f"{place} cannot be {done} ({what}); {remedy}") from error
