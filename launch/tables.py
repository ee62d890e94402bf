"""Names of the tables that settings choose from, read from their source: `--help` and checks wait for no JAX."""

import ast
import functools
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
TABLES = {  # the word of a field (see mammojax/settings/tree.py): the file and the table in it
    "builders": ("mammojax/datasets/builders/__init__.py", "BUILDERS"),
    "label_schemes": ("mammojax/datasets/labels.py", "SCHEMES"),
    "backbones": ("mammojax/models/backbones/__init__.py", "BACKBONES"),
    "surrogates": ("mammojax/losses/surrogates.py", "SURROGATES"),
    "classifiers": ("mammojax/models/classifiers/__init__.py", "CLASSIFIERS"),
    "arms": ("mammojax/experiment/arms.py", "ARMS"),
}


@functools.cache
def tables() -> dict[str, tuple[str, ...]]:
    """The names of every table, for `mammojax.settings.check_names` and `explain`."""
    return {word: names(CHECKOUT / file, table) for word, (file, table) in TABLES.items()}


def names(file: Path, table: str) -> tuple[str, ...]:
    """The keys of a dictionary, or the elements of a tuple, that a file assigns to `table` as a literal."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == table for target in targets):
            entries = node.value.keys if isinstance(node.value, ast.Dict) else node.value.elts
            return tuple(ast.literal_eval(entry) for entry in entries)
    raise LookupError(f"{file} assigns no {table}")
