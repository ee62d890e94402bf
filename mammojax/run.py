"""The run directory: files that appear whole or not at all, and stages that know by what they were made.

A stage's *key* is the hash of everything that determines its result. A finished stage holds `stage.json` with its key;
the same key is reused, another key is computed anew in a new place. Nothing is ever mixed, nothing is ever lost.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mammojax.errors import UserError

STAGE_FILE = "stage.json"


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


def key(**parts) -> str:
    """Sixteen hex digits that change when any of `parts` (JSON values) changes."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_finished(folder: Path, stage_key: str) -> bool:
    """Whether `folder` holds the finished stage of this key."""
    return stored_key(folder) == stage_key


def stored_key(folder: Path) -> str | None:
    """The key of the finished stage in `folder`, None if there is none."""
    try:
        return json.loads((Path(folder) / STAGE_FILE).read_text(encoding="utf-8"))["key"]
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, KeyError, TypeError):
        return None


def finish(folder: Path, stage_key: str, **facts) -> None:
    """Marks the stage in `folder` as finished; to be called after everything else of it is on disk."""
    write_json(Path(folder) / STAGE_FILE, {"key": stage_key, **facts})


def claim(folder: Path, stage_key: str) -> str | None:
    """Makes `folder` ready for the stage of this key; returns where another stage's files were moved, or None.

    An unfinished stage of the same key is kept, so that work goes on where it was.
    """
    folder = Path(folder)
    started = folder / ".started"
    moved = None
    if folder.exists():
        try:
            before = started.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            before = stored_key(folder) or "unknown"
        if before != stage_key:
            aside = folder.with_name(f"{folder.name}.was-{before}")
            if aside.exists():
                shutil.rmtree(aside)  # the same key was set aside before: equal by construction
            folder.rename(aside)
            moved = aside.name
    folder.mkdir(parents=True, exist_ok=True)
    if not started.exists():
        with writing(started, "w") as file:
            file.write(stage_key + "\n")
    return moved


def environment() -> dict:
    """Versions of Python and of the packages that determine the numbers, and the machine's kind."""
    names = (
        "jax",
        "jaxlib",
        "flax",
        "optax",
        "orbax-checkpoint",
        "grain",
        "numpy",
        "scipy",
        "scikit-learn",
        "pydicom",
        "tensorflow-datasets",
        "array_record",
        "mammojax",
    )
    versions = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    if "mammojax" not in versions:
        from mammojax import __version__

        versions["mammojax"] = __version__
    facts = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    if "jax" in sys.modules:  # never start a backend only to describe it
        import jax

        facts["devices"] = sorted({f"{d.platform}: {d.device_kind}" for d in jax.devices()})
    return {**facts, "cores": os.cpu_count(), "packages": versions}


def record_settings(directory: Path, config: dict) -> None:
    """Writes config.json (fully resolved) and environment.json; settings of an earlier start are kept under their key."""
    path = Path(directory) / "config.json"
    if path.is_file():
        before = read_json(path)
        if before != json.loads(json.dumps(config)):
            path.rename(path.with_name(f"config.was-{key(config=before)}.json"))
    write_json(path, config)
    write_json(Path(directory) / "environment.json", environment())
