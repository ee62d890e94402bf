"""Stages that know by what they were made.

A stage's *key* is the hash of everything that determines its result. A finished stage holds `stage.json` with its key;
the same key is reused, another key is computed anew in a new place. Nothing is ever mixed, nothing is ever lost.
"""

import hashlib
import json
import shutil
from pathlib import Path

from mammojax.runs.files import write_json, writing

STAGE_FILE = "stage.json"


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
