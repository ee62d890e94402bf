"""The house: imports run downwards only, and importing the package costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mammojax"
MAY_IMPORT = {
    "losses": set(),
    "images": set(),
    "models": set(),
    "datasets": {"images"},
    "training": {"models", "datasets", "losses", "images"},
    "evaluation": {"training", "models", "datasets", "losses", "images"},
}
FOUNDATION = {"errors", "run", "seeds"}  # below all rooms; they import no room
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_downwards_only(path):
    room = path.relative_to(PACKAGE).parts[0] if path.parent != PACKAGE else path.stem
    for name in imported(path):
        parts = name.split(".")
        assert parts[0] not in ("launch", "configs", "absl", "tests"), (
            f"{path} reads flags or imports upwards: {name}"
        )
        if parts[0] != "mammojax" or len(parts) == 1 or parts[1] == room:
            continue
        if room == "losses":
            raise AssertionError(f"{path} imports {name}; losses import jax and numpy only")
        if parts[1] in FOUNDATION or parts[1] == "__version__":
            continue
        assert parts[1] in MAY_IMPORT.get(room, set()), f"{path} ({room}) imports {name}"


def test_importing_the_package_loads_nothing_heavy_and_takes_under_300_ms():
    program = (
        "import time, sys; start = time.perf_counter(); import mammojax; took = time.perf_counter() - start\n"
        "heavy = {'jax', 'numpy', 'flax', 'tensorflow_datasets', 'grain'} & set(sys.modules)\n"
        "print(took); sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert float(done.stdout) < 0.3


def test_configs_are_plain_data():
    for path in (ROOT / "configs").glob("*.py"):
        heavy = {name.split(".")[0] for name in imported(path)} - {"ml_collections", "configs", "json"}
        assert not heavy, f"{path} imports {heavy}"


def test_launchers_are_thin():
    for path in (ROOT / "launch").glob("*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        limit = 450 if path.stem.startswith("benchmark") else 160 if path.stem == "command_line" else 130
        assert lines <= limit, f"{path.name} has {lines} lines; its logic belongs into the package"
