"""Settings from plain data and from what was typed, and back; every value is checked on the way in."""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from mammojax.errors import UserError
from mammojax.settings.arms import checked_arms, parse_arm
from mammojax.settings.check import checked, parsed, unknown_field
from mammojax.settings.rules import check_rules
from mammojax.settings.leaves import leaves
from mammojax.settings.tree import Settings


def to_mapping(settings: Settings) -> dict:
    """The settings as nested plain data; `from_mapping` gives them back, from JSON too."""
    return dataclasses.asdict(settings)


def defaults() -> dict:
    """Every field with its default, as nested plain data."""
    return to_mapping(Settings())


def from_mapping(nested: Mapping) -> Settings:
    """Settings from nested plain data; what is left out has its default. Raises UserError for the first mistake."""
    return check_rules(fields_from(nested))


def fields_from(nested: Mapping) -> Settings:
    """As `from_mapping`, with every check of a field and none across fields (flags may yet change them)."""
    return replaced(Settings(), flattened(nested))


def with_overrides(settings: Settings, overrides: Mapping[str, Any]) -> Settings:
    """The settings with fields replaced by path: {"training.epochs": 40, "loss.surrogate": "hinge"}.

    Text is read as the field's type, so that what was typed on a command line can be given as it is; checks and messages
    are those of `from_mapping`.
    """
    return check_rules(
        replaced(
            settings,
            {
                path: parsed(leaves()[path], value) if isinstance(value, str) and _typed(path) else value
                for path, value in overrides.items()
            },
        )
    )


def _typed(path: str) -> bool:
    return path in leaves() and path != "arms"


def flattened(nested: Mapping, prefix: str = "") -> dict[str, Any]:
    """Values by path. Raises UserError for what is no field of the tree."""
    if not isinstance(nested, Mapping):
        raise UserError(f"the settings are {type(nested).__name__}; expected sections with fields")
    found = {}
    for name, value in nested.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and path not in leaves():
            if not any(known.startswith(f"{path}.") for known in leaves()):
                raise unknown_field(path)
            found |= flattened(value, f"{path}.")
        elif path not in leaves():
            raise unknown_field(path)
        else:
            found[path] = value
    return found


def replaced(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """The settings with the fields of these paths set, each of them checked alone."""
    tree = to_mapping(settings)
    for path, value in values.items():
        if path == "arms":
            tree["arms"] = copy.deepcopy(checked_arms(value))
            continue
        if path not in leaves():
            raise unknown_field(path)
        *sections, name = path.split(".")
        branch = tree
        for section in sections:
            branch = branch[section]
        branch[name] = checked(leaves()[path], value)
    for text in tree["crossval"]["arms"]:
        parse_arm(text)
    return _built(Settings, tree)


def _built(kind: type, values: Mapping) -> Any:
    kinds = get_type_hints(kind)
    return kind(
        **{
            name: _built(kinds[name], value) if dataclasses.is_dataclass(kinds[name]) else value
            for name, value in values.items()
        }
    )
