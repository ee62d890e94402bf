"""Arms of a table: a name, or a name with settings of its own.

Written `name` or `name:field=value,field=value` in config.crossval.arms; or given a name of its own, a title and a colour
in config.arms: {"auc_hinge": {"base": "auc", "title": "AUC, hinge", "loss": {"surrogate": "hinge"}}}.
"""

import re
from collections.abc import Mapping
from typing import Any

from mammojax.errors import UserError
from mammojax.settings.check import checked, nearest, parsed, split_outside, unknown_field
from mammojax.settings.leaves import leaves

# one for the whole table: sections and single fields
SHARED = ("run", "mirror", "seed", "data", "mesh", "crossval", "arms", "training.inner")
WORDS = ("base", "title", "colour")  # of an arm of one's own, beside its settings
TAKEN = ("acquisition",)  # rows of the report that no network makes


def parse_arm(text: str) -> tuple[str, dict[str, Any]]:
    """(name, overrides by path, checked) of an arm as it is written: `auc:loss.surrogate=hinge,model.np=30`.

    Raises UserError for a field that is unknown or belongs to the whole table, and for a value that it does not take.
    """
    name, colon, rest = text.partition(":")
    overrides: dict[str, Any] = {}
    try:
        if not re.fullmatch(r"\w+", name.strip(), re.ASCII) or (colon and not rest.strip()):
            raise UserError("an arm is written NAME or NAME:FIELD=VALUE,FIELD=VALUE")
        for part in split_outside(rest) if colon else ():
            path, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals:
                raise UserError(
                    f"{part!r} is no FIELD=VALUE; tuples stand in brackets: model.paper.filters=(8,8)"
                )
            if path in overrides:
                raise UserError(f"{path} is given twice")
            overrides[path] = parsed(_own(path), value)
    except UserError as error:
        raise UserError(f"config.crossval.arms holds {text!r}: {error}") from None
    return name.strip(), overrides


def is_shared(path: str) -> bool:
    """Whether a field is one for the whole table."""
    return path in SHARED or path.split(".")[0] in SHARED


def _own(path: str):
    """The field that an arm overrides."""
    if path not in leaves():
        raise unknown_field(path)
    if is_shared(path):
        raise UserError(f"config.{path} is one for the whole table; no arm has its own")
    return leaves()[path]


def checked_arms(value: Any) -> dict[str, dict]:
    """Arms of one's own, every field checked. Raises UserError."""
    if not isinstance(value, Mapping):
        raise UserError(
            f"config.arms is {value!r}; expected, in a config file, arms by name, each with its base and settings"
        )
    arms = {}
    for name, own in value.items():
        where = f"config.arms.{name}"
        if not isinstance(name, str) or not re.fullmatch(r"\w+", name, re.ASCII):
            raise UserError(f"config.arms holds {name!r}; expected a name of letters, digits and _")
        if name in TAKEN:
            raise UserError(f"{where} has the name of a row that every table has; give it another")
        if not isinstance(own, Mapping) or not isinstance(own.get("base"), str):
            raise UserError(f'{where} has no base; give {{"base": "auc", ...}}, an arm that it varies')
        sections = {}
        for key, item in own.items():
            if key in WORDS:
                if not isinstance(item, str) or any(ord(character) < 32 for character in item):
                    raise UserError(f"{where}.{key} is {item!r}; expected text")
                sections[key] = item
            elif isinstance(item, Mapping):
                try:
                    sections[key] = _checked_section(item, f"{key}.")
                except UserError as error:
                    raise UserError(f"{where}: {error}") from None
            else:
                raise UserError(
                    f"{where}.{key} is no section of settings and none of {', '.join(WORDS)}"
                    f"{nearest(str(key), WORDS)}"
                )
        arms[name] = sections
    return arms


def _checked_section(values: Mapping, prefix: str) -> dict:
    return {
        name: _checked_section(item, f"{prefix}{name}.")
        if isinstance(item, Mapping)
        else checked(_own(f"{prefix}{name}"), item)
        for name, item in values.items()
    }
