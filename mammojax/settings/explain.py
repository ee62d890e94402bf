"""What `--help` says of every field: its flag with the default, what it takes, and its sentence."""

import dataclasses
import textwrap
from collections.abc import Iterable, Mapping
from typing import get_type_hints

from mammojax.settings.check import expected, is_tuple, span
from mammojax.settings.leaves import Leaf, leaves
from mammojax.settings.tree import Settings

WIDTH = 98  # columns


def explain(tables: Mapping[str, Iterable[str]]) -> list[str]:
    """Lines of at most `WIDTH` characters: every section with its fields, each a flag. tables: see `check_names`."""
    lines: list[str] = []
    _section(Settings, "", tables, lines)
    return lines


def _section(kind: type, prefix: str, tables: Mapping[str, Iterable[str]], lines: list[str]) -> None:
    kinds = get_type_hints(kind)
    own = [item.name for item in dataclasses.fields(kind) if not dataclasses.is_dataclass(kinds[item.name])]
    sentence = " ".join((kind.__doc__ or "").split())
    lines += ["", *textwrap.wrap(f"{prefix.rstrip('.') or 'config'}: {sentence}", WIDTH)]
    for name in own:
        leaf = leaves()[prefix + name]
        if leaf.path == "arms":  # no flag takes a mapping
            continue
        flag, takes = f"  --config.{leaf.path}={_typed(leaf.default)}", _takes(leaf, tables)
        beside = f"{flag}  ({takes})" if takes and len(flag) + len(takes) + 4 <= WIDTH else flag
        lines.append(beside)
        text = (
            leaf.facts["sentence"]
            if beside != flag or not takes
            else f"{leaf.facts['sentence']} Takes {takes}."
        )
        lines += textwrap.wrap(text, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    for item in dataclasses.fields(kind):
        if item.name not in own:
            _section(kinds[item.name], f"{prefix}{item.name}.", tables, lines)


def _takes(leaf: Leaf, tables: Mapping[str, Iterable[str]]) -> str:
    """The choices, the names of the table, or the range; "" where any value will do."""
    names = list(tables.get(leaf.facts["table"], ())) if leaf.facts["table"] else []
    if names:
        return f"{'some' if is_tuple(leaf) else 'one'} of {', '.join(names)}"
    return expected(leaf) if leaf.facts["choices"] or leaf.kind is bool else span(leaf)


def _typed(value: object) -> str:
    """A value as it is typed in a flag."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
