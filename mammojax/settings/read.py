"""Settings from plain data, and back; every value is checked on the way in. And the settings of one arm."""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple, get_type_hints

from mammojax.errors import UserError
from mammojax.settings.arms import WORDS, checked_arms, parse_arm
from mammojax.settings.check import checked, unknown_field
from mammojax.settings.leaves import leaves
from mammojax.settings.tree import Settings


def to_mapping(settings: Settings) -> dict:
    """The settings as nested plain data; `from_mapping` gives them back, from JSON too."""
    return dataclasses.asdict(settings)


def defaults() -> dict:
    """Every field with its default, as nested plain data."""
    return to_mapping(Settings())


def fields_from(nested: Mapping) -> Settings:
    """Settings from nested plain data, every field checked and nothing across fields (flags may yet change them)."""
    return replaced(Settings(), flattened(nested))


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


class ArmChoice(NamedTuple):
    """An arm as it was asked for. name: as written; base: its entry in the table of arms; title, colour: of an arm of one's
    own without what is written behind its name, "" if not given; settings: with its own in place."""

    name: str
    base: str
    title: str
    colour: str
    settings: Settings


def own_settings(settings: Settings, text: str) -> dict[str, Any]:
    """What an arm as it is written sets itself, by path: in config.arms under its name, and behind its name."""
    name, overrides = parse_arm(text)
    own = settings.arms.get(name, {})
    return flattened({key: item for key, item in own.items() if key not in WORDS}) | overrides


def chosen_arm(settings: Settings, text: str) -> ArmChoice:
    """The arm that is written so, with what it sets itself in place. Its base is not looked up; see `check_names`."""
    name, _ = parse_arm(text)
    base, title, colour = (settings.arms.get(name, {"base": name}).get(word, "") for word in WORDS)
    return ArmChoice(text, base, title, colour, replaced(settings, own_settings(settings, text)))
