"""Files that appear whole or not at all."""

import contextlib
import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from mammojax.errors import UserError

PARTIAL = ".partial"  # ends the names of files that are being written

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)  # nothing but writing fails so
_PLACE = (errno.EACCES, errno.EPERM, errno.EIO)  # reading fails so too


@contextlib.contextmanager
def writing(path: Path, mode: str = "wb") -> Iterator:
    """A file object for `path` that appears under its name only when the block ends well (write aside, fsync, rename).

    The folder is made if it is missing. Raises UserError when the disk is full or the folder cannot be written; what
    stood at `path` before stays. What is no file there (a pipe, /dev/null) is written as it is, and stays. Any number of
    processes may write the same path: the last whole one stays.
    """
    options = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        with Path(path).open(mode, **options) as file:
            yield file
        return
    path = Path(os.path.realpath(path))  # a link stays a link
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; give the name of a file in it")
    aside = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = aside.open(mode.replace("w", "x"), **options)
        except OSError as error:
            raise _cannot_write(path, error) from error
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if error.filename is None and error.errno in (*_DISK, *_PLACE):  # not of another file
                raise _cannot_write(path, error) from error
            raise
        try:
            os.replace(aside, path)
        except OSError as error:
            raise _cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


@contextlib.contextmanager
def filling(folder: Path) -> Iterator[None]:
    """Turns what a full, read-only or failing disk raises in the block into a UserError that names `folder`.

    For files that a library writes by itself; `writing` does the same for its own.
    """
    try:
        yield
    except Exception as error:
        reason = disk_failure(error, folder)
        if not reason or isinstance(error, UserError):
            raise
        raise UserError(f"cannot write {folder}: {reason}; free space or choose another folder") from error


def check_target(path: Path) -> None:
    """UserError if a folder could never be written at `path`: a file is in the way, or none may be made there.

    What is there already passes, since a finished run is read from a disk that is read-only.
    """
    path = Path(path).absolute()
    for above in (path, *path.parents):
        if above.is_dir():
            if above != path and not os.access(above, os.W_OK | os.X_OK):
                break
            return
        if os.path.lexists(above):
            raise UserError(f"cannot write {path}: {above} is a file; choose another folder")
    raise UserError(f"cannot write {path}: no folder can be made in {above}; choose another folder")


def check_writable(folder: Path) -> None:
    """UserError if no file can be written into the folder now, which is made; what is there stays."""
    probe = Path(folder) / f".{secrets.token_hex(4)}{PARTIAL}"
    with writing(probe):
        pass
    probe.unlink()


def disk_failure(error: Exception, folder: Path) -> str:
    """What the system said of a disk that is full, read-only, failing or not ours; "" if the error is of another kind.

    folder: where was written; an error that reading gives as well counts only if it names a path in there. array_record
    raises RuntimeError and tensorstore ValueError, with the system's words in the text.
    """
    text = str(error)
    for code in _DISK if str(folder) not in text else (*_DISK, *_PLACE):
        if error.errno == code if isinstance(error, OSError) else os.strerror(code) in text:
            return os.strerror(code)
    return ""


def write_json(path: Path, value) -> None:
    """Writes `value` as indented JSON, whole or not at all."""
    with writing(path, "w") as file:
        file.write(_text(value))


def read_json(path: Path):
    """The value of a JSON file; UserError if it is absent or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is absent; run the step that writes it first") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); remove it and run the step again") from None


def write_sealed(path: Path, value: dict) -> None:
    """Writes a JSON object with its own checksum in it, under the name "seal"."""
    with writing(path, "w") as file:
        file.write(sealed_text(value))


def sealed_text(value: dict) -> str:
    """What `write_sealed` writes."""
    value = json.loads(json.dumps(value))  # as it will be read: names are strings, tuples are lists
    return _text({**value, "seal": _seal(value)})


def read_sealed(path: Path) -> dict | None:
    """What `write_sealed` wrote, None unless the file is there and is that to the byte; UserError if it is out of reach."""
    try:
        return unsealed(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; look at its permissions and its disk"
        ) from error


def unsealed(text: str) -> dict | None:
    """The object of a text that `sealed_text` made, None unless it is that to the byte."""
    try:
        value = json.loads(text)
        seal = value.pop("seal")
        return value if seal == _seal(value) and text == _text({**value, "seal": seal}) else None
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text(value) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def _seal(value: dict) -> str:
    return hashlib.sha256(_text(value).encode()).hexdigest()


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror}; free space or choose another folder")
