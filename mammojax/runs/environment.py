"""What determines the numbers beside the settings: versions of packages and the kind of machine."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path

from mammojax.errors import UserError
from mammojax.runs.files import write_json, writing
from mammojax.runs.locks import locked

CONFIG_FILE = "config.json"


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
    """Writes config.json (fully resolved) and environment.json; settings of an earlier start are kept under their hash.

    A record for people: nothing is computed from it. Any number of processes may start at once. A directory that cannot
    be written, read-only or full, is left as it is: a finished run is read from there, and what is to be made there
    says so by itself.
    """
    directory = Path(directory)
    config_file = directory / CONFIG_FILE
    with (
        contextlib.suppress(UserError),
        locked(config_file, what=str(config_file), say=lambda line: None),
    ):
        _keep(config_file, config)
        write_json(directory / "environment.json", environment())


def _keep(path: Path, config: dict) -> None:
    """Writes `config`, after other settings that stood there were given a name of their own."""
    if path.is_file():
        before = path.read_bytes()
        with contextlib.suppress(ValueError):
            if json.loads(before) == json.loads(json.dumps(config)):
                return
        with writing(path.with_name(f"config.was-{hashlib.sha256(before).hexdigest()[:16]}.json")) as file:
            file.write(before)
    write_json(path, config)
