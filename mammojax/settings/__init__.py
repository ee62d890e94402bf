"""The settings of a run: one typed tree (`tree`), read from plain data and flags (`read`) with every check."""

from mammojax.settings.arms import ArmChoice, chosen_arm, parse_arm
from mammojax.settings.explain import explain
from mammojax.settings.read import defaults, fields_from, from_mapping, to_mapping, with_overrides
from mammojax.settings.rules import check_arms, check_names, check_rules, notes
from mammojax.settings.tree import Settings

__all__ = [
    "ArmChoice",
    "Settings",
    "check_arms",
    "check_names",
    "check_rules",
    "chosen_arm",
    "defaults",
    "explain",
    "fields_from",
    "from_mapping",
    "notes",
    "parse_arm",
    "to_mapping",
    "with_overrides",
]
