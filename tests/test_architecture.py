"""The house: imports run downwards only, and importing the package costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mammojax"
FLOORS = (  # from the ground up; a room imports from the floors below its own alone
    ("errors", "seeds"),
    ("losses", "settings"),
    ("evaluation", "runs", "images"),
    ("models", "phantom"),
    ("datasets", "inspect"),
    ("representations", "survey", "hostile"),
    ("training",),
    ("experiment",),
    ("report",),
    ("benchmarks",),
)
STRANGERS = ("losses", "images", "models")  # that do not know each other, whatever their floors
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
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
        if parts[1] == "__version__":
            continue
        assert FLOOR[parts[1]] < FLOOR[room], f"{path} ({room}) imports {name}, which is not on a floor below"
        assert not {parts[1], room} <= set(STRANGERS), (
            f"{path} ({room}) imports {name}, which it must not know"
        )


def _file(module: str) -> Path | None:
    """Of a module or package of the checkout."""
    path = ROOT / module.replace(".", "/")
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def _names(path: Path) -> set[str]:
    """What a module has: functions, classes, what it assigns and imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def test_what_is_imported_is_there_within_functions_too():
    """An import within a function fails where it is called, after hours perhaps, or in a benchmark that few people run."""
    absent = []
    for path in (*MODULES, *(ROOT / "launch").glob("*.py"), *(ROOT / "configs").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or node.module.split(".")[0] not in (
                "mammojax",
                "launch",
                "configs",
            ):
                continue
            known = _names(_file(node.module)) if _file(node.module) else set()
            absent += [
                f"{path.relative_to(ROOT)}: {node.module}.{alias.name}"
                for alias in node.names
                if alias.name not in known and not _file(f"{node.module}.{alias.name}")
            ]
    assert not absent


def test_every_room_has_its_floor_and_none_holds_more_than_a_fifth_of_the_code():
    lines = {}
    for path in MODULES:
        if path != PACKAGE / "__init__.py":
            room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
            lines[room] = lines.get(room, 0) + len(path.read_text(encoding="utf-8").splitlines())
    assert set(lines) <= set(FLOOR)
    assert max(lines.values()) <= 0.2 * sum(lines.values()), lines


def test_no_module_is_longer_than_350_lines():
    """A longer one holds more than one idea."""
    for path in [*MODULES, *(ROOT / "launch").glob("*.py"), *(ROOT / "configs").glob("*.py")]:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 350, f"{path.relative_to(ROOT)} has {lines} lines"


def test_importing_the_package_loads_nothing_heavy():
    program = (
        "import sys, mammojax\n"
        "heavy = {'jax', 'numpy', 'scipy', 'flax', 'tensorflow_datasets', 'grain'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_configs_are_plain_data():
    for path in (ROOT / "configs").glob("*.py"):
        plain = ("ml_collections", "configs", "json", "mammojax.settings", "mammojax.errors")
        heavy = {name for name in imported(path) if not name.startswith(plain)}
        assert not heavy, f"{path} imports {heavy}"


def test_launchers_are_thin():
    for path in (ROOT / "launch").glob("*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        limit = 350 if path.stem.startswith("benchmark") else 160 if path.stem == "command_line" else 130
        assert lines <= limit, f"{path.name} has {lines} lines; its logic belongs into the package"


def test_no_two_files_of_tests_have_one_name():
    """pytest imports a file by its bare name: the second of one name is an error of collection."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
