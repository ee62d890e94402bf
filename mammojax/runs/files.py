"""Files that appear whole or not at all."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mammojax.errors import UserError


@contextlib.contextmanager
def writing(path: Path, mode: str = "wb") -> Iterator:
    """A file object for `path` that appears under its name only when the block ends well (write aside, fsync, rename).

    Raises UserError when the disk is full or the folder cannot be written; what stood at `path` before stays.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; free space or choose another folder"
        ) from error
    try:
        options = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
        with os.fdopen(descriptor, mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o644)  # mkstemp makes private files; a run directory is read by colleagues
        os.replace(aside, path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; free space or choose another folder"
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)


def write_json(path: Path, value) -> None:
    """Writes `value` as indented JSON, whole or not at all."""
    with writing(path, "w") as file:
        json.dump(value, file, indent=1, sort_keys=True)
        file.write("\n")


def read_json(path: Path):
    """The value of a JSON file; UserError if it is absent or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is absent; run the step that writes it first") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); remove it and run the step again") from None
