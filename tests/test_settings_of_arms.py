"""Settings that only an arm shows: overrides, fields without effect, conflicts, names of tables, notes."""

import pytest
from test_settings import FLAGS, refused

from mammojax.errors import UserError
from mammojax.settings import (
    Settings,
    check_arms,
    check_names,
    chosen_arm,
    from_mapping,
    notes,
    parse_arm,
    with_overrides,
)
from mammojax.settings.check import element, is_tuple
from mammojax.settings.rules import CONFLICTS, COUNTS, OF_BATCHES


def test_an_arm_carries_settings_of_its_own():
    text = "auc:loss.surrogate=hinge,model.paper.filters=(8,8),training.epochs=40"
    overrides = {"loss.surrogate": "hinge", "model.paper.filters": (8, 8), "training.epochs": 40}
    assert parse_arm("auc") == ("auc", {})
    assert parse_arm(text) == ("auc", overrides)
    arm = chosen_arm(Settings(), text)
    assert arm.base == "auc" and arm.settings == with_overrides(Settings(), overrides)


def test_an_arm_of_ones_own_has_a_base_a_title_and_settings_that_can_be_overridden_again():
    own = {"base": "auc", "title": "AUC, first in", "loss": {"policy": "fifo", "capacity": 8}}
    built = from_mapping(
        {"arms": {"fifo": own}, "crossval": {"arms": ["bce", "fifo", "fifo:loss.capacity=9"]}}
    )
    arm, varied = (chosen_arm(built, text) for text in built.crossval.arms[1:])
    assert (arm.base, arm.title, arm.settings.loss.capacity) == ("auc", "AUC, first in", 8)
    assert (varied.base, varied.settings.loss.policy, varied.settings.loss.capacity) == ("auc", "fifo", 9)
    assert chosen_arm(built, "bce").settings == built


@pytest.mark.parametrize(
    "text, line",
    [
        ("", "an arm is written NAME or NAME:FIELD=VALUE"),
        ("auc:", "an arm is written NAME or NAME:FIELD=VALUE"),
        ("a/b", "an arm is written NAME or NAME:FIELD=VALUE"),
        ("auc:hinge", "'hinge' is no FIELD=VALUE"),
        ("auc:loss.surogate=hinge", "did you mean config.loss.surrogate?"),
        ("auc:training.epochs=0", "config.training.epochs is 0; expected a whole number"),
        ("auc:seed=3", "config.seed is one for the whole table"),
        ("auc:data.margin=0.1", "config.data.margin is one for the whole table"),
        ("auc:training.epochs=4,training.epochs=40", "training.epochs is given twice"),
    ],
)
def test_an_arm_that_is_written_wrong_is_shown_with_the_reason(text, line):
    said = refused("crossval.arms", ["bce", text])
    assert f"config.crossval.arms holds {text!r}: " in said and line in said


@pytest.mark.parametrize(
    "own, line",
    [
        ([], "config.arms is []; expected"),
        ({"a": {}}, "config.arms.a has no base"),
        ({"a b": {"base": "auc"}}, "config.arms holds 'a b'"),
        ({"a": {"base": "auc", "tilte": "x"}}, "did you mean title?"),
        ({"a": {"base": "auc", "title": 3}}, "config.arms.a.title is 3; expected text"),
        (
            {"a": {"base": "auc", "title": "two\nlines"}},
            "config.arms.a.title is 'two\\nlines'; expected text",
        ),
        (
            {"acquisition": {"base": "auc"}},
            "config.arms.acquisition has the name of a row that every table has",
        ),
        ({"a": {"base": "auc", "loss": {"policy": "fif"}}}, "config.arms.a: config.loss.policy is 'fif'"),
        ({"a": {"base": "auc", "data": {"margin": 0.1}}}, "config.data.margin is one for the whole table"),
    ],
)
def test_an_arm_of_ones_own_is_checked_as_the_settings_are(own, line):
    assert line in refused("arms", own)


def changed(leaf):
    """Another value than the default."""
    if leaf.facts["choices"]:
        others = [choice for choice in leaf.facts["choices"] if choice not in (leaf.default, *leaf.default)]
        return (others[0],) if is_tuple(leaf) else others[0]
    kind = element(leaf)
    if is_tuple(leaf):
        return leaf.default * 2
    return {
        bool: lambda x: not x,
        str: lambda x: x + "x",
        int: lambda x: x + 1,
        float: lambda x: 0.8 * x + 0.07,
    }[kind](leaf.default)


ALL = tuple(path.removeprefix("loss.") for path in FLAGS if path.startswith("loss."))


def idle_notes(settings, *, finetuned=(), takes=()):
    arms = {text: chosen_arm(settings, text).settings for text in settings.crossval.arms}
    said = notes(settings, arms, trained=dict.fromkeys(arms, takes), finetuned=finetuned)
    return [note for note in said if "no effect" in note]


def check(settings, *, finetuned=(), takes=ALL):
    """As an experiment does, with arms that set nothing but what is written with them; all but the SVM are trained, by
    objectives that take the fields `takes`."""
    arms = {text: chosen_arm(settings, text).settings for text in settings.crossval.arms}
    takes = (
        [path.removeprefix("loss.") for path in FLAGS if path.startswith("loss.")] if takes is None else takes
    )
    check_arms(
        settings, arms, trained={text: takes for text in arms if "svm" not in text}, finetuned=finetuned
    )


@pytest.mark.parametrize("rule", COUNTS, ids=lambda rule: rule.fields)
def test_a_field_that_was_changed_and_has_no_effect_is_a_mistake_unless_an_arm_needs_it(rule):
    on = FLAGS[rule.on]
    assert set(rule.of) <= set(on.facts["choices"] or rule.of)
    off = next((c for c in on.facts["choices"] if c not in rule.of), "other")
    on_value, off_value = ((rule.of[0],), ("mean",)) if is_tuple(on) else (rule.of[0], off)
    needed = {
        "model.map": {"model.classifier": "mil"},
        "model.mil.pool": {"model.classifier": "mil"},
        "model.pooled.statistics": {"model.classifier": "pooled"},
    }.get(rule.on, {})
    path, leaf = next((p, f) for p, f in FLAGS.items() if p == rule.fields or p.startswith(f"{rule.fields}."))
    value = changed(leaf)
    without = with_overrides(Settings(), {rule.on: off_value, path: value, **needed})
    with pytest.raises(UserError, match=f"config.{path} is .*, which has no effect with config.{rule.on}="):
        check(without)
    check(with_overrides(without, {rule.on: on_value}))
    if not rule.on.startswith("data."):
        typed = f"({','.join(on_value)})" if is_tuple(on) else on_value
        check(with_overrides(without, {"crossval.arms": ("bce", f"auc:{rule.on}={typed}")}))


def test_a_field_of_one_arm_that_has_no_effect_there_is_a_mistake():
    with pytest.raises(
        UserError, match="in the arm auc:loss.capacity=9, config.loss.capacity is 9, which has no"
    ):
        check(
            with_overrides(
                Settings(), {"crossval.arms": "auc:loss.policy=fifo,loss.capacity=8,auc:loss.capacity=9"}
            )
        )


# what else an arm has to say for a field to count
NEEDS = {"loss.capacity": "loss.policy=fifo,", "loss.two_pass_batches": "loss.pairs=two_pass,"}


@pytest.mark.parametrize(
    "path", [path for path in FLAGS if path.startswith("loss.") and path != "loss.weights"]
)
def test_a_field_of_the_loss_that_no_arm_takes_is_a_mistake_and_so_is_one_that_its_arm_does_not_take(path):
    needs = NEEDS.get(path, "")
    arm = f"auc:{needs}{path}={changed(FLAGS[path])}"
    with pytest.raises(
        UserError, match="in the arm auc:.*, config.loss.*, which has no effect: its loss takes weights;"
    ):
        check(with_overrides(Settings(), {"crossval.arms": arm}), takes=())
    check(with_overrides(Settings(), {"crossval.arms": arm}))
    told = idle_notes(with_overrides(Settings(), {"crossval.arms": "bce", path: changed(FLAGS[path])}))
    assert any(
        f"config.{path}=" in note and "no effect on any arm (bce: its loss takes weights)" in note
        for note in told
    )
    # what an arm is told that is the default too: it was meant
    with pytest.raises(UserError, match="in the arm auc:loss.max_fpr=0.1, "):
        check(with_overrides(Settings(), {"crossval.arms": "auc:loss.max_fpr=0.1"}), takes=("margin",))


@pytest.mark.parametrize("path", OF_BATCHES)
def test_what_batches_are_told_is_a_mistake_where_every_step_has_all_samples(path):
    needs = NEEDS.get(path, "")
    own = f"{needs}{path}={changed(FLAGS[path])}"
    with pytest.raises(UserError, match="every step has all samples, by config.training.batch=0"):
        check(with_overrides(Settings(), {"crossval.arms": f"auc:training.batch=0,{own}"}))
    everywhere = with_overrides(
        Settings(), {path: changed(FLAGS[path]), "training.batch": 0, "crossval.arms": "bce"}
    )
    assert any(
        f"config.{path}=" in note and "(bce: every step has all samples" in note
        for note in idle_notes(everywhere, takes=ALL)
    )
    beside = with_overrides(everywhere, {"crossval.arms": "bce,auc:training.batch=8"})
    assert not any(
        f"config.{path}=" in note and "no effect" in note for note in idle_notes(beside, takes=ALL)
    )


@pytest.mark.parametrize("alone, larger", [
    ("finetune.batch=1,loss.pairs=batch", "finetune.batch=1,loss.pairs=batch,finetune.microbatches=2"),
    ("training.batch=1,loss.pairs=two_pass,loss.two_pass_batches=1", "training.batch=1,loss.pairs=two_pass"),
])  # fmt: skip
def test_steps_of_one_sample_that_nothing_stands_beside_are_a_mistake_of_an_arm_of_pairs(alone, larger):
    def arms(own):
        return with_overrides(Settings(), {"crossval.arms": f"auc:{own}", "finetune.epochs": 1})

    with pytest.raises(UserError, match="one sample a step makes no pair"):
        check(arms(alone), finetuned=[f"auc:{alone}"])
    check(arms(larger), finetuned=[f"auc:{larger}"])


def test_stage_two_is_not_set_for_arms_that_have_none_and_batches_of_one_hold_no_share():
    with pytest.raises(
        UserError, match="config.finetune.frozen is 2, which has no effect: it is not fine-tuned"
    ):
        check(with_overrides(Settings(), {"crossval.arms": "bce,auc:finetune.frozen=2"}))
    meant = with_overrides(Settings(), {"finetune.epochs": 4, "crossval.arms": "auc"})
    (said,) = idle_notes(meant)
    assert "config.finetune.epochs=4 has no effect on any arm (auc: it is not fine-tuned" in said
    assert not idle_notes(meant, finetuned=["auc"])
    with pytest.raises(UserError, match="batches of one sample hold one class alone"):
        check(with_overrides(Settings(), {"training.positives": 0.25, "training.batch": 1}))


@pytest.mark.parametrize("rule", CONFLICTS, ids=lambda rule: f"{rule.first} {rule.second}")
def test_fields_that_cannot_stand_together_in_an_arm_are_named_with_the_reason(rule):
    for value in rule.values:
        for other in rule.others:
            together = with_overrides(Settings(), {rule.first: value, rule.second: other})
            with pytest.raises(
                UserError, match=f"config.{rule.first}={value} and config.{rule.second}={other}"
            ):
                check(together)
            check(with_overrides(together, {"crossval.arms": "resize224_svm"}))  # which trains no classifier


def test_names_of_tables_are_looked_up_in_every_arm():
    tables = {"builders": ["mias", "folder"], "surrogates": ["logistic", "hinge"], "arms": ["bce", "auc"]}
    arms = {"crossval.arms": ("bce", "auc:loss.surrogate=hinge")}
    check_names(with_overrides(Settings(), arms), tables)
    own = {"arms": {"mine": {"base": "auc"}}, "crossval": {"arms": ["mine"]}}
    check_names(from_mapping(own), tables)
    for mapping, line in [
        (
            own | {"data": {"name": "maes"}},
            "config.data.name is 'maes'; expected one of mias, folder; did you mean mias?",
        ),
        (own | {"data": {"name": ""}}, "config.data.name is ''; expected one of mias, folder"),
        (
            {"crossval": {"arms": ["auk"]}},
            "config.crossval.arms holds 'auk'; expected some of bce, auc; did you mean auc?",
        ),
        (
            {"crossval": {"arms": ["auc:loss.surrogate=cubic"]}},
            "config.loss.surrogate is 'cubic'; expected one of logistic, hinge",
        ),
        (
            {**own, "arms": {"mine": {"base": "auk"}}, "crossval": {"arms": ["auc"]}},
            "config.arms.mine.base is 'auk'",
        ),
        (
            {"arms": {"auc": {"base": "bce"}}, "crossval": {"arms": ["bce"]}},
            "config.arms.auc has the name of an arm",
        ),
    ]:
        with pytest.raises(UserError) as error:
            check_names(from_mapping(mapping), tables)
        assert line in str(error.value)


def test_a_fine_tuned_arm_needs_epochs():
    tree = with_overrides(Settings(), {"crossval.arms": "auc,auc_finetuned"})
    with pytest.raises(
        UserError, match=r"config\.finetune\.epochs is 0, and the arm auc_finetuned is fine-tuned"
    ):
        check(tree, finetuned=["auc_finetuned"])
    check(with_overrides(tree, {"finetune.epochs": 1}), finetuned=["auc_finetuned"])


def noted(settings, **lines):
    """Notes on arms that have settings of their own in the table of arms, as arms of the program may."""
    arms = {}
    for text in settings.crossval.arms:
        line = lines.get(text.partition(":")[0], {})
        arms[text] = chosen_arm(with_overrides(settings, line), text).settings
    return notes(settings, arms, trained={}, finetuned=())


def test_augmentation_that_does_nothing_is_said():
    assert any("nothing is augmented" in note for note in noted(Settings()))
    none = {f"augmentation.{name}": 0 for name in ("flip", "rotation", "scaling", "intensity")}
    for overrides in ({"scan.copies": 2}, {"finetune.epochs": 1}, none):
        assert noted(with_overrides(Settings(), overrides)) == []


def test_a_setting_that_an_arm_of_the_program_sets_alone_is_said():
    tree = {"training.epochs": 3, "scan.copies": 2, "crossval.arms": "bce,cells,cells:training.epochs=9"}
    (note,) = noted(with_overrides(Settings(), tree), cells={"training.epochs": 50})
    assert note.startswith("config.training.epochs=3 is not used by cells, which sets it alone")
    assert note.endswith("'cells:training.epochs=3'")
