"""Checks across fields: what cannot be, what has no effect, and names of tables; said before anything is prepared."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mammojax.errors import UserError
from mammojax.settings.check import nearest
from mammojax.settings.leaves import leaves, value_of
from mammojax.settings.read import chosen_arm
from mammojax.settings.tree import Settings


class Rule(NamedTuple):
    """`fields` (one, or a section) depend on the field `on`: with one of the values `of` they cannot be, or count at all."""

    fields: str
    on: str
    of: tuple
    reason: str


# a field that was changed counts only where `on` has one of these values (a tuple: holds one of them)
COUNTS = (
    Rule("data.phantom", "data.name", ("phantom",), "other sets are not made by the program"),
    Rule("data.folder", "data.name", ("folder",), "other sets have no such table"),
    Rule("loss.policy", "loss.pairs", ("buffer",), "only the buffer keeps scores"),
    Rule("loss.capacity", "loss.policy", ("reservoir", "fifo"), "the policy all keeps every score"),
    Rule("loss.correct_drift", "loss.pairs", ("buffer",), "only the buffer keeps scores"),
    Rule("loss.two_pass_batches", "loss.pairs", ("two_pass",), "other pairs take one batch a step"),
    Rule("model.np", "model.map", ("grid",), "a dense map has the cells that the crop gives it"),
    Rule("model.share", "model.contrast", ("score", "both"), "no score of the other breast is taken away"),
    Rule("model.paper", "model.classifier", ("paper",), "another classifier does not read it"),
    Rule("model.mil", "model.classifier", ("mil",), "another classifier does not read it"),
    Rule("model.pooled", "model.classifier", ("pooled",), "another classifier does not read it"),
    Rule("model.mil.top", "model.mil.pool", ("top",), "other pools take no share"),
    Rule("model.mil.anneal", "model.mil.pool", ("top",), "other pools take no share"),
    Rule("model.mil.temperature", "model.mil.pool", ("lse",), "other pools have none"),
    Rule("model.pooled.top", "model.pooled.statistics", ("top", "bottom"), "no statistic takes a share"),
)


class Conflict(NamedTuple):
    """Two fields that cannot have these values together."""

    first: str
    values: tuple
    second: str
    others: tuple
    reason: str


CONFLICTS = (
    Conflict(
        "model.views", ("mean",), "data.sample", ("breast", "patient"), "all views share one score already"
    ),
    Conflict(
        "model.contrast",
        ("channels", "score", "both"),
        "data.sample",
        ("patient",),
        "both breasts share one score",
    ),
    Conflict(
        "model.map", ("dense",), "model.classifier", ("paper",), "the paper's classifier needs np x np cells"
    ),
    Conflict("training.batch", (1,), "loss.pairs", ("batch",), "one sample makes no pair"),
)


def check_rules(settings: Settings) -> Settings:
    """The settings, if no two fields contradict each other.

    A field that has no effect, or a conflict, counts as a mistake if it is one in every arm of the table (an arm may set
    what makes it count). Raises UserError.
    """
    if not settings.run:
        raise UserError("config.run is empty; give a folder for everything that the run makes")
    arms = settings.crossval.arms
    for place, text in enumerate(arms):
        if text in arms[:place]:
            raise UserError(
                f"config.crossval.arms names {text!r} twice; each row of the table needs an arm of its own"
            )
    if settings.crossval.proposed and settings.crossval.proposed not in arms:
        raise UserError(
            f"config.crossval.proposed is {settings.crossval.proposed!r}; expected one of config.crossval.arms: "
            f"{' '.join(arms)}"
        )
    trees = [chosen_arm(settings, text).settings for text in arms]
    found = [[*_idle(tree), *conflicts(tree)] for tree in trees]
    for complaint in found[0]:
        if all(complaint in others for others in found[1:]):
            raise UserError(complaint)
    return settings


def _idle(settings: Settings) -> list[str]:
    """A sentence for each field that was changed and has no effect."""
    found = []
    for rule in COUNTS:
        on = value_of(settings, rule.on)
        if any(value in rule.of for value in (on if isinstance(on, tuple) else (on,))):
            continue
        for path, leaf in leaves().items():
            value = value_of(settings, path)
            if (path == rule.fields or path.startswith(f"{rule.fields}.")) and value != leaf.default:
                found.append(
                    f"config.{path} is {value!r}, which has no effect with config.{rule.on}={_typed(on)}: "
                    f"{rule.reason}; give --config.{rule.on}={' or '.join(map(_typed, rule.of))}, or leave "
                    f"config.{path} at {leaf.default!r}"
                )
    return found


def conflicts(settings: Settings) -> list[str]:
    """A sentence for each pair of fields that cannot stand together in one arm."""
    return [
        f"config.{c.first}={_typed(value_of(settings, c.first))} and config.{c.second}="
        f"{_typed(value_of(settings, c.second))} cannot be: {c.reason}; change one of them"
        for c in CONFLICTS
        if value_of(settings, c.first) in c.values and value_of(settings, c.second) in c.others
    ]


def _typed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def check_names(settings: Settings, tables: Mapping[str, Iterable[str]]) -> None:
    """UserError for a name that is in none of its table: builders, backbones, surrogates, arms ... of every arm.

    tables: names by the word that a field of the tree gives for its table; a table that is left out is not checked.
    """
    arms = {text: chosen_arm(settings, text) for text in settings.crossval.arms}
    known = list(tables.get("arms", ()))
    for text, arm in arms.items():
        if known and arm.base not in known:
            names = [*known, *settings.arms]
            raise UserError(
                f"config.crossval.arms holds {text!r}; expected some of {', '.join(names)}{nearest(arm.base, names)}"
            )
    for name, own in settings.arms.items():
        if known and name in known:
            raise UserError(f"config.arms.{name} has the name of an arm of the program; give it another")
        if known and own["base"] not in known:
            raise UserError(
                f"config.arms.{name}.base is {own['base']!r}; expected one of {', '.join(known)}"
                f"{nearest(own['base'], known)}"
            )
    for tree in (settings, *(arm.settings for arm in arms.values())):
        for path, leaf in leaves().items():
            names, value = list(tables.get(leaf.facts.get("table", ""), ())), value_of(tree, path)
            if names and path != "crossval.arms" and value not in names and not value == leaf.default == "":
                raise UserError(
                    f"config.{path} is {value!r}; expected one of {', '.join(names)}{nearest(value, names)}"
                )


def check_arms(settings: Settings, *, trained: Iterable[str], finetuned: Iterable[str]) -> None:
    """UserError for an arm of config.crossval.arms that its own settings rule out.

    trained: the bases that train a classifier; finetuned: those of stage two.
    """
    trained, finetuned = set(trained), set(finetuned)
    for text in settings.crossval.arms:
        arm = chosen_arm(settings, text)
        for complaint in conflicts(arm.settings) if arm.base in trained else ():
            raise UserError(f"the arm {text} cannot be trained: {complaint}")
        if arm.base in finetuned and arm.settings.finetune.epochs < 1:
            raise UserError(
                f"config.finetune.epochs is 0, and the arm {text} is fine-tuned; give --config.finetune.epochs=1 or more, "
                "or leave the arm out"
            )


def notes(settings: Settings) -> list[str]:
    """What is no mistake and may still surprise, a sentence each."""
    found = []
    augmentation = settings.augmentation
    trees = [chosen_arm(settings, text).settings for text in settings.crossval.arms]
    strengths = (augmentation.flip, augmentation.rotation, augmentation.scaling, augmentation.intensity)
    if any(strengths) and all(tree.scan.copies == 1 and not tree.finetune.epochs for tree in trees):
        found.append(
            "nothing is augmented: that needs config.scan.copies above 1 (stage one) or config.finetune.epochs (stage two)"
        )
    return found
