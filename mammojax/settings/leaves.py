"""The fields of the tree one by one, by path: what checks, flags and `--help` go through."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple, get_type_hints

from mammojax.settings.tree import Settings


class Leaf(NamedTuple):
    """A field of the tree with all that is known of it. path: `training.epochs`; kind: its type; facts: see `field`."""

    path: str
    kind: Any
    default: Any
    facts: Mapping[str, Any]


def leaves_of(kind: type, prefix: str = "") -> dict[str, Leaf]:
    """The fields of a branch by path, in the order of the tree."""
    found, kinds = {}, get_type_hints(kind)
    for item in dataclasses.fields(kind):
        path = prefix + item.name
        if dataclasses.is_dataclass(kinds[item.name]):
            found |= leaves_of(kinds[item.name], f"{path}.")
        else:
            default = item.default_factory() if item.default is dataclasses.MISSING else item.default
            found[path] = Leaf(path, kinds[item.name], default, item.metadata)
    return found


@functools.cache
def leaves() -> dict[str, Leaf]:
    """Every field of `Settings` by path."""
    return leaves_of(Settings)


def value_of(settings: Settings, path: str) -> Any:
    """The value of a field by its path."""
    return functools.reduce(getattr, path.split("."), settings)
