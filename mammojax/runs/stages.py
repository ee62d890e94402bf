"""Stages that know by what they were made.

A stage's *key* is the hash of everything that determines its result; it lies in a folder of that name. A finished stage
holds `stage.json`, written last: its key, facts, and the size and sha256 of every file. The same key is reused, another
key is another folder: nothing finished is ever overwritten, moved or deleted. What is found damaged is set aside and
made again.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from mammojax.errors import UserError
from mammojax.runs import buckets, locks
from mammojax.runs.files import PARTIAL, filling, read_sealed, sha256_of, write_sealed

STAGE_FILE = "stage.json"
WORK = "work"  # what `make` leaves in this folder of a stage is scratch: kept while it is unfinished, removed after
SMALL = 64 << 20  # bytes: a stage up to this size is read and compared whole before it is reused

_compared: set[tuple] = set()  # files that this process has compared with their checksums


class Damaged(UserError):
    """A file of a finished stage is not what was written."""


def key(**parts) -> str:
    """Sixteen hex digits that change when any of `parts` (JSON values) changes."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def finished(folder: Path) -> dict | None:
    """The facts of the finished stage in `folder`, None if there is none."""
    stage = read_sealed(Path(folder) / STAGE_FILE)
    return None if stage is None else stage["facts"]


def files(folder: Path) -> list[str]:
    """The names of what the stage in `folder` holds, none where it is not finished."""
    return sorted((read_sealed(Path(folder) / STAGE_FILE) or {"files": ()})["files"])


def made(
    parent: Path,
    stage_key: str,
    make: Callable[[Path], dict],
    *,
    what: str,
    say: Callable[[str], None],
    wait: bool = True,
    help: Callable[[Path], None] | None = None,
    mirrored: bool = True,
) -> Path | None:
    """The folder `parent`/`stage_key` with the finished stage of this key; None if another process makes it and not `wait`.

    A finished stage is reused, on a read-only disk too. Otherwise, under the lock of the folder, make(folder) writes the
    files and returns the facts (JSON). It finds what a killed start left in the folder, must go on from that to the same
    files, and removes nothing that it would need again: scratch belongs into folder/WORK, which is removed when the
    stage is finished. what: the stage in words, for the lines that are said. A finished stage with a missing or changed
    file is set aside, which is said, and made again. help(folder): what can be done meanwhile of a stage that another
    process makes, part by part (see `share`); it may come when the stage is finished already. mirrored: it is a result: kept
    in the mirror where there is one (see `buckets`), and taken from there.
    """
    folder = Path(parent) / stage_key
    mirrored = mirrored and bool(buckets.mirror())
    fault = _fault(folder)
    if not fault and finished(folder) is not None:
        say(f"{what} is reused")
        _tidy(folder)
        if mirrored:
            buckets.put(folder, read_sealed(folder / STAGE_FILE), made=False)
        return folder
    try:
        # parts of what is being taken from the mirror must not be made beside it
        if help is not None and not (mirrored and buckets.holds(stage_key)):
            with locks.try_locked(folder) as mine:
                if mine:
                    return _made(folder, make, what, say, mirrored)
            if not (folder / STAGE_FILE).exists():  # not one that is damaged and about to be set aside
                say(f"{what} is being made by {locks.holder(folder)}; taking a part of it")
                help(folder)
                say = _quiet  # told already who makes it
        with locks.locked(folder, what=what, say=say) if wait else locks.try_locked(folder) as mine:
            return _made(folder, make, what, say, mirrored) if mine else None
    except locks.NoLock as error:
        if fault:
            raise Damaged(f"{fault}, and it cannot be made again there: {error}") from error
        raise


def _quiet(line: str) -> None:
    pass


def _made(
    folder: Path, make: Callable[[Path], dict], what: str, say: Callable[[str], None], mirrored: bool
) -> Path:
    """As `made`, with the lock held."""
    fault = _fault(folder)  # anew: what was so before the lock was had may have changed while we waited
    if fault:
        say(f"{fault}; {what} is made again, the damaged folder is kept as {_set_aside(folder).name}")
    elif finished(folder) is not None:
        say(f"{what} is reused")
        return folder
    with filling(folder):
        folder.mkdir(parents=True, exist_ok=True)
        manifest = buckets.take(folder, say=say) if mirrored else None
        if manifest is None:
            _finish(folder, make(folder))
        else:
            write_sealed(folder / STAGE_FILE, manifest)
            say(f"{what} is taken from {buckets.mirror()}")
    if mirrored and manifest is None:
        buckets.put(folder, read_sealed(folder / STAGE_FILE), made=True)
    _remove_work(folder)
    return folder


def verified(folder: Path, name: str) -> Path:
    """The file `name` of the finished stage in `folder`, compared with its size and sha256 (once a process).

    Raises Damaged, which names the file, if it is not what was written; the stage is set aside, so that the same command
    makes it again. UserError if the stage is not finished, and for a file that it never had.
    """
    folder = Path(folder)
    fault = _fault_of(folder, name)
    if not fault:
        return folder / name
    remedy = f"remove {folder} and start again"
    with contextlib.suppress(locks.NoLock), locks.try_locked(folder) as mine:
        if mine and _fault_of(folder, name):  # still so: no other process has made it again
            remedy = f"it is kept in {_set_aside(folder).name}; start again to make it anew"
    raise Damaged(f"{fault}; {remedy}")


def _fault_of(folder: Path, name: str) -> str:
    """What is wrong with one file of a finished stage, "" if nothing is; UserError if it is not finished or never had it."""
    if not (folder / STAGE_FILE).exists():
        raise UserError(f"{folder} is not finished; run the step that makes it first")
    stage = read_sealed(folder / STAGE_FILE)
    if stage is None:
        return f"{folder / STAGE_FILE} is damaged"
    if name not in stage["files"]:
        raise UserError(f"{folder / name} is not a file of this stage; give the folder of another one")
    return _file_fault(folder, name, stage["files"][name])


def _fault(folder: Path) -> str:
    """What is wrong with a finished stage, naming the file; "" if nothing is, or if it is not finished."""
    if not (folder / STAGE_FILE).exists():
        return ""
    stage = read_sealed(folder / STAGE_FILE)
    if stage is None or stage["key"] != folder.name:
        return f"{folder / STAGE_FILE} is damaged"
    whole = sum(size for size, _ in stage["files"].values()) <= SMALL
    for name, entry in stage["files"].items():
        fault = _file_fault(folder, name, entry, whole=whole)
        if fault:
            return fault
    return ""


def _file_fault(folder: Path, name: str, entry, *, whole: bool = True) -> str:
    """What is wrong with one file, "" if nothing is. whole: compare its bytes, not its size alone."""
    path = folder / name
    size, digest = entry
    try:
        stat = path.stat()
        if stat.st_size != size:
            return f"{path} is damaged (it has {stat.st_size} bytes, {size} were written)"
        mark = (os.path.abspath(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, digest)
        if whole and mark not in _compared:
            if sha256_of(path) != digest:
                return f"{path} is damaged (its bytes are not those that were written)"
            _compared.add(mark)
    except (FileNotFoundError, NotADirectoryError):
        return f"{path} is missing"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    return ""


def _finish(folder: Path, facts: dict) -> None:
    """Writes stage.json, after everything else of the stage has reached the disk."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] == WORK or not path.is_file():
            continue
        if path.name.endswith(PARTIAL):
            path.unlink()  # left by a killed start
            continue
        with path.open("rb") as file:
            os.fsync(file.fileno())
        files[name.as_posix()] = [path.stat().st_size, sha256_of(path)]
    write_sealed(folder / STAGE_FILE, {"key": folder.name, "facts": facts, "files": files})


def _set_aside(folder: Path) -> Path:
    """Renames a damaged stage to a name that is free."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
        number += 1
    return folder.rename(aside)


def _tidy(folder: Path) -> None:
    """Removes the scratch of a finished stage whose process was killed before it had done so."""
    if (folder / WORK).exists():
        with contextlib.suppress(locks.NoLock), locks.try_locked(folder) as mine:  # a read-only disk keeps it
            if mine:
                _remove_work(folder)


def _remove_work(folder: Path) -> None:
    shutil.rmtree(folder / WORK, ignore_errors=True)
