"""The settings of a run: one typed tree (`tree`), read from plain data and from flags with every check.

    settings = from_mapping({"run": "runs/mine", "data": {"name": "mias", "source": "all-mias"}})
    settings = with_overrides(settings, {"training.epochs": 40, "crossval.arms": "bce,auc,auc:loss.surrogate=hinge"})

A function in the core takes the fields that it needs, not the tree.
"""

from collections.abc import Mapping
from typing import Any

from mammojax.settings.also import further_sets
from mammojax.settings.arms import parse_arm
from mammojax.settings.check import parsed
from mammojax.settings.explain import explain
from mammojax.settings.leaves import leaves
from mammojax.settings.read import ArmChoice, chosen_arm, defaults, fields_from, replaced, to_mapping
from mammojax.settings.rules import check_arms, check_names, check_rules, has_effect, notes
from mammojax.settings.tree import Mil, Model, Paper, Pooled, Settings

__all__ = [
    "ArmChoice",
    "Mil",
    "Model",
    "Paper",
    "Pooled",
    "Settings",
    "check_arms",
    "check_names",
    "check_rules",
    "chosen_arm",
    "defaults",
    "explain",
    "fields_from",
    "from_mapping",
    "further_sets",
    "has_effect",
    "notes",
    "parse_arm",
    "to_mapping",
    "with_overrides",
]


def from_mapping(nested: Mapping) -> Settings:
    """Settings from nested plain data; what is left out has its default. Raises UserError for the first mistake."""
    return check_rules(fields_from(nested))


def with_overrides(settings: Settings, overrides: Mapping[str, Any]) -> Settings:
    """The settings with fields replaced by path: {"training.epochs": 40, "loss.surrogate": "hinge"}.

    Text is read as the field's type, so that what was typed on a command line can be given as it is; checks and messages
    are those of `from_mapping`.
    """
    typed = {path: leaf for path, leaf in leaves().items() if path != "arms"}  # which is a mapping
    return check_rules(
        replaced(
            settings,
            {
                path: parsed(typed[path], value) if isinstance(value, str) and path in typed else value
                for path, value in overrides.items()
            },
        )
    )
