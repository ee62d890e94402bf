"""Checks across fields: what cannot be, what has no effect, and names of tables; said before anything is prepared."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mammojax.errors import UserError
from mammojax.settings.also import further_sets
from mammojax.settings.arms import is_shared
from mammojax.settings.check import nearest
from mammojax.settings.leaves import leaves, value_of
from mammojax.settings.read import chosen_arm, own_settings
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


BUCKETS = ("gs://", "s3://")  # how the name of a place in one begins

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

# fields that choose and pair the samples of a batch: nothing to them where every step has all samples
OF_BATCHES = (
    "training.positives", "loss.pairs", "loss.policy", "loss.capacity", "loss.correct_drift", "loss.two_pass_batches",
)  # fmt: skip


def check_rules(settings: Settings) -> Settings:
    """The settings, if the run has a folder of its own machine and the rows of the table are told apart. Raises UserError.

    What the fields of an arm do together is `check_arms`, since arms have settings of their own.
    """
    if not settings.run:
        raise UserError("config.run is empty; give a folder for everything that the run makes")
    for path in ("run", "data.prepared", "scan.representations"):
        if "://" in value_of(settings, path):
            raise UserError(
                f"config.{path} is {value_of(settings, path)!r}, and neither locks nor renaming hold in a bucket; give a local "
                "folder, and config.mirror=gs://... or s3://... to keep what is finished"
            )
    if settings.mirror and not settings.mirror.startswith(BUCKETS):
        raise UserError(f"config.mirror is {settings.mirror!r}; expected gs://BUCKET/... or s3://BUCKET/...")
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
    return settings


def check_arms(
    settings: Settings,
    arms: Mapping[str, Settings],
    *,
    trained: Mapping[str, Collection[str]],
    finetuned: Collection[str],
) -> None:
    """UserError for fields that rule each other out in an arm, or that have no effect in any.

    arms: the settings of each arm of the table with its own in place, by its name as it is written. trained: those that train
    a classifier, each with the fields of `loss` that its objective takes. finetuned: those of stage two.
    """
    for name, tree in arms.items():
        for complaint in conflicts(tree) if name in trained else ():
            raise UserError(f"the arm {name} cannot be trained: {complaint}")
        if name in trained and tree.training.positives and tree.training.batch == 1:
            raise UserError(
                f"the arm {name} cannot be trained: config.training.positives is {tree.training.positives}, and batches of one "
                "sample hold one class alone; give --config.training.batch=16"
            )
        if name in trained and "policy" in trained[name] and _is_alone(tree, name in finetuned):
            raise UserError(
                f"the arm {name} cannot be trained: one sample a step makes no pair, and config.loss.pairs="
                f"{tree.loss.pairs} stores no scores; give larger batches, or config.loss.pairs=buffer"
            )
        if name in finetuned and tree.finetune.epochs < 1:
            raise UserError(
                f"config.finetune.epochs is 0, and the arm {name} is fine-tuned; give --config.finetune.epochs=1 or "
                "more, or leave the arm out"
            )
        differences = tree.model.contrast in ("channels", "both")
        if name in finetuned and differences:
            raise UserError(
                f"the arm {name} is fine-tuned from the pixels of one film, and config.model.contrast="
                f"{tree.model.contrast} needs the other breast's map; give config.model.contrast=none or score"
            )
        if name in finetuned and tree.training.batch == 0:
            raise UserError(
                f"the arm {name} is fine-tuned from networks that were trained in batches, and config.training.batch is 0; "
                "give --config.training.batch=16"
            )
        if name in trained and differences and tree.scan.copies > 1:
            raise UserError(
                f"the arm {name} takes the difference to the other breast, whose film is not changed alike; give "
                f"--config.scan.copies=1"
            )
        own = own_settings(settings, name)
        for path, complaint in idle(tree, [tree]).items() if name in trained else ():
            if path in own:
                raise UserError(f"in the arm {name}, {complaint}")
        for path in own if name in trained else ():
            if reason := unread(tree, path, trained[name], finetuned=name in finetuned):
                raise UserError(
                    f"in the arm {name}, config.{path} is {_typed(value_of(tree, path))}, which has no effect: {reason}; "
                    "leave it out"
                )
    if settings.training.positives and all(arms[name].training.batch == 0 for name in trained):
        raise UserError(
            f"config.training.positives is {settings.training.positives}, and every arm trains on all samples at once; "
            "give config.training.batch=16, or leave config.training.positives at 0"
        )
    for complaint in idle(settings, [arms[name] for name in arms if name in trained] or [settings]).values():
        raise UserError(complaint)


def _is_alone(tree: Settings, finetuned: bool) -> bool:
    """Whether a step of an arm's training pairs the scores of one sample at most, with none beside it."""
    batches = tree.loss.two_pass_batches if tree.loss.pairs == "two_pass" else 1
    steps = [(tree.training.batch, batches)] + [(tree.finetune.batch, tree.finetune.microbatches)] * finetuned
    return tree.loss.pairs != "buffer" and (1, 1) in steps


def unread(tree: Settings, path: str, takes: Collection[str], *, finetuned: bool) -> str:
    """Why an arm's training does not read a field, "" if it may. takes: the fields of `loss` that its objective takes."""
    section, _, name = path.rpartition(".")
    known = {"weights", *takes} | ({"two_pass_batches"} if "pairs" in takes else set())
    if section == "loss" and name not in known:
        return f"its loss takes {', '.join(sorted(known))}"
    if section == "finetune" and not finetuned:
        return "it is not fine-tuned, as arms that end in _finetuned are"
    if path in OF_BATCHES and tree.training.batch == 0:
        return "every step has all samples, by config.training.batch=0"
    return ""


def idle(settings: Settings, trees: Sequence[Settings]) -> dict[str, str]:
    """A sentence for each field that was changed and has no effect in any of these trees, those of the arms; by path."""
    found = {}
    for rule in COUNTS:
        seen = [value_of(tree, rule.on) for tree in (*trees, *further_sets(settings))]
        if any(_holds(rule, on) for on in seen):
            continue
        for path, leaf in leaves().items():
            value = value_of(settings, path)
            if _covers(rule, path) and value != leaf.default:
                found[path] = (
                    f"config.{path} is {_typed(value)}, which has no effect with config.{rule.on}={_typed(seen[0])}: "
                    f"{rule.reason}; give config.{rule.on}={' or '.join(map(_typed, rule.of))}, or leave "
                    f"config.{path} at {_typed(leaf.default)}"
                )
    return found


def has_effect(settings: Settings, path: str) -> bool:
    """Whether the field counts beside the others of this tree, by `COUNTS`; none does beside a field that does not."""
    return all(
        _holds(rule, value_of(settings, rule.on)) and has_effect(settings, rule.on)
        for rule in COUNTS
        if _covers(rule, path)
    )


def _covers(rule: Rule, path: str) -> bool:
    return path == rule.fields or path.startswith(f"{rule.fields}.")


def _holds(rule: Rule, on: Any) -> bool:
    return any(value in rule.of for value in (on if isinstance(on, tuple) else (on,)))


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


def notes(
    settings: Settings,
    arms: Mapping[str, Settings],
    *,
    trained: Mapping[str, Collection[str]],
    finetuned: Collection[str],
) -> list[str]:
    """What is no mistake and may still surprise, a sentence each. arms, trained, finetuned: see `check_arms`."""
    found = []
    for path, leaf in leaves().items():
        value = value_of(settings, path)
        reasons = {
            name: unread(arms[name], path, takes, finetuned=name in finetuned)
            for name, takes in trained.items()
        }
        if value != leaf.default and reasons and all(reasons.values()):
            name, reason = next(iter(reasons.items()))
            found.append(f"config.{path}={_typed(value)} has no effect on any arm ({name}: {reason})")
    augmentation = dataclasses.astuple(settings.augmentation)
    if any(augmentation) and all(
        tree.scan.copies == 1 and not tree.finetune.epochs for tree in arms.values()
    ):
        found.append(
            "nothing is augmented: that needs config.scan.copies above 1 (stage one) or config.finetune.epochs (stage two)"
        )
    for path, leaf in leaves().items():
        value = value_of(settings, path)
        if is_shared(path) or value == leaf.default:
            continue
        others = [
            name
            for name, tree in arms.items()
            if value_of(tree, path) != value and path not in own_settings(settings, name)
        ]
        if others:
            found.append(
                f"config.{path}={_typed(value)} is not used by {', '.join(others)}, which set{'s' * (len(others) == 1)} "
                f"it alone; override it in the arm: '{others[0]}{',' if ':' in others[0] else ':'}{path}={_typed(value)}'"
            )
    return found
