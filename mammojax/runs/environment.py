"""What determines the numbers beside the settings: versions of packages and the kind of machine."""

import contextlib
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path

from mammojax.runs.files import read_json, write_json
from mammojax.runs.stages import key


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
