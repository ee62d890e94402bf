"""Arms as data: a new one is a line, any setting of one can be its own, and what makes a cell another cell."""

import dataclasses

import pytest

from mammojax.errors import UserError
from mammojax.experiment.arms import ARMS, CELLS, Arm, arm_of, base_arm
from mammojax.experiment.fit import recipe
from mammojax.runs.stages import key
from mammojax.settings import Settings, from_mapping, parse_arm, with_overrides

DEFAULT = Settings()


def key_of(text, settings=DEFAULT, seed=0):
    return key(**recipe(arm_of(settings, text), seed))


def test_a_new_arm_is_one_line():
    line = Arm("Square", "#123456", "maps", "auc", settings={"loss.surrogate": "square"})
    arm = arm_of(DEFAULT, "square", {**ARMS, "square": line})
    assert (arm.name, arm.title, arm.colour) == ("square", "Square", "#123456")
    assert arm.settings == with_overrides(DEFAULT, {"loss.surrogate": "square"})


def test_an_override_behind_the_name_stands_above_the_line_and_the_line_above_the_run():
    run = with_overrides(DEFAULT, {"training.epochs": 7, "training.inner": 3})
    assert arm_of(run, "bce").settings.training.epochs == 7
    assert arm_of(run, "cells_bce").settings.training.epochs == CELLS["training.epochs"]
    own = arm_of(run, "cells_bce:training.epochs=9,model.mil.top=0.1").settings
    assert (own.training.epochs, own.model.mil.top, own.training.inner) == (9, 0.1, 3)


def test_an_override_is_seen_in_the_title_and_an_arm_of_ones_own_has_its_title_and_colour():
    hinge = arm_of(DEFAULT, "auc:loss.surrogate=hinge")
    assert hinge.settings.loss.surrogate == "hinge" and hinge.name == "auc:loss.surrogate=hinge"
    assert hinge.title == f"{ARMS['auc'].title} (loss.surrogate=hinge)"
    own = {"auc_fifo": {"base": "auc", "title": "Fifo", "colour": "#000000", "loss": {"policy": "fifo"}}}
    settings = from_mapping({"arms": own, "crossval": {"arms": ("auc_fifo", "auc")}})
    arm = arm_of(settings, "auc_fifo")
    assert (arm.title, arm.colour, arm.settings.loss.policy) == ("Fifo", "#000000", "fifo")
    assert arm.objective == "auc" and arm_of(settings, "auc").settings.loss.policy == "all"


def test_arms_of_other_settings_have_other_titles():
    """Rows that a reader could not tell apart would be read as one thing measured twice."""
    own = {
        "fifo": {"base": "auc", "title": "Fifo", "loss": {"policy": "fifo"}},
        "drawn": {"base": "auc", "loss": {"policy": "reservoir"}},
    }
    names = [
        f"{name}{more}"
        for name in ("auc", "fifo", "drawn")
        for more in ("", ":training.epochs=4", ":loss.capacity=9")
    ]
    settings = from_mapping({"arms": own})
    titles = [arm_of(settings, name).title for name in names]
    assert len(set(titles)) == len(titles)
    assert titles[3:5] == ["Fifo", "Fifo (training.epochs=4)"]
    assert titles[7] == "The paper's: AUC loss (drawn: training.epochs=4)"


def test_an_unknown_arm_names_the_known_ones():
    with pytest.raises(UserError, match="unknown arm 'acu'; expected some of resize224_svm, bce"):
        arm_of(DEFAULT, "acu")


@pytest.mark.parametrize("name", list(ARMS))
def test_every_line_says_what_its_arm_is(name):
    arm = arm_of(DEFAULT, name)
    assert arm.title and arm.colour.startswith("#") and len(arm.colour) == 7
    assert sum(arm.colour == other.colour for other in ARMS.values()) == 1
    assert parse_arm(name) == (name, {})
    if arm.is_finetuned:
        base = base_arm(arm)
        assert base.stage == "maps" and base.objective == arm.objective and base.settings == arm.settings


def changed(**fields):
    return with_overrides(DEFAULT, {name.replace("__", "."): value for name, value in fields.items()})


@pytest.mark.parametrize("arm, settings", [
    ("bce", changed(training__learning_rate=1e-2)),
    ("bce", changed(model__np=30)),
    ("bce", changed(model__paper__hidden=(8,))),
    ("bce", changed(model__ensemble=2)),
    ("auc", changed(loss__surrogate="hinge")),
    ("auc", changed(loss__correct_drift=False)),
    ("cells_bce", changed(model__mil__top=0.1)),
    ("exam_bce", changed(model__share=0.25)),
    ("auc_finetuned", changed(finetune__epochs=2)),
    ("auc_finetuned", changed(augmentation__rotation=1.0)),
    ("resize224_svm", changed(model__views="mean")),
    ("resize224_svm", changed(model__contrast="score")),
], ids=str)  # fmt: skip
def test_what_changes_a_result_makes_another_cell(arm, settings):
    assert key_of(arm, settings) != key_of(arm)


@pytest.mark.parametrize("arm, settings", [
    ("bce", changed(loss__surrogate="hinge")),
    ("bce", changed(finetune__epochs=2)),
    ("bce", changed(model__mil__top=0.1)),
    ("cells_bce", changed(model__paper__hidden=(8,))),
    ("cells_bce", changed(model__np=30)),
    ("cells_bce", changed(model__mil__temperature=2.0)),
    ("auc:loss.pairs=batch", changed(loss__policy="fifo")),
    ("resize224_svm", changed(training__learning_rate=1e-2)),
    ("resize224_svm", changed(loss__surrogate="hinge")),
    ("resize224_svm", changed(model__classifier="mil")),
    ("resize224_svm", changed(model__contrast="channels")),
    ("auc", changed(training__checkpoint_every=1)),
    ("auc", changed(training__checkpoint_minutes=1.0)),
    ("auc", changed(run="elsewhere")),
    ("auc", changed(crossval__resamples=50)),
    ("auc", changed(scan__workers=3)),
    ("auc", changed(model__weights="moved.pth")),
], ids=str)  # fmt: skip
def test_what_changes_no_result_keeps_the_cell(arm, settings):
    assert key_of(arm, settings) == key_of(arm)


def test_the_first_baseline_reads_no_setting_of_networks_and_losses():
    read = {"stage", "objective", "seed", "data.sample", "model.ensemble", "model.views"}
    assert set(recipe(arm_of(DEFAULT, "resize224_svm"), 0)) == read
    # a share of the other breast's score, where one is taken away
    less = arm_of(changed(model__contrast="score"), "resize224_svm")
    assert set(recipe(less, 0)) == read | {"model.share"}


def test_two_arms_with_settings_of_their_own_stand_side_by_side():
    names = ("auc", "auc:loss.surrogate=hinge", "auc:loss.policy=fifo", "auc:training.learning_rate=0.001")
    assert len({key_of(name) for name in names}) == len(names)
    assert key_of("auc:loss.surrogate=logistic") == key_of("auc")  # the same said twice is one cell
    assert key_of("auc", seed=1) != key_of("auc")


def test_an_arm_is_frozen_data():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ARMS["auc"].title = "other"
