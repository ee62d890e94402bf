"""What cannot be trained is one line before anything is prepared."""

import pytest

from mammojax.errors import UserError
from mammojax.experiment.arms import ARMS
from mammojax.experiment.crossval import checked
from mammojax.settings import Settings, from_mapping, with_overrides


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"crossval.arms": ("bce",), "data.sample": "breast"}, "reads the map of one image, and config.data.sample is breast"),
        (
            {"crossval.arms": ("cells_bce:model.mil.top=0.1",), "model.backbone": "vgg_16"},
            "reads the layer stride32, and vgg_16 has pool5, fc6; choose one of them: "
            "'cells_bce:model.mil.top=0.1,model.tap=pool5'",
        ),
        ({"crossval.arms": ("auc:training.inner=8",)}, "config.training.inner is one for the whole table"),
        ({"crossval.arms": ("breasts_bce",), "scan.copies": 3}, "whose film is not changed alike"),
        (
            {"crossval.arms": ("auc", "auc_finetuned"), "model.contrast": "channels", "finetune.epochs": 1},
            "is fine-tuned from the pixels of one film",
        ),
        (
            {"crossval.arms": ("auc", "auc_finetuned"), "training.batch": 0, "finetune.epochs": 1},
            "trained in batches, and config.training.batch is 0",
        ),
        ({"crossval.arms": ("bce", "bce:loss.surrogate=hinge")}, "in the arm bce:loss.surrogate=hinge, config.loss.surrogate is hinge, which has no"),
        ({"crossval.arms": ("resize224_svm:training.epochs=2",)}, "config.training.epochs has no effect"),
        ({"crossval.arms": ("auc:finetune.epochs=2",)}, "config.finetune.epochs is 2, which has no effect"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_said(changes, says):
    with pytest.raises(UserError, match=says) as error:
        checked(with_overrides(Settings(), changes))
    assert "\n" not in str(error.value)


def test_a_colour_that_cannot_be_drawn_is_said_before_hours_are_spent():
    def settings(colour):
        own = {"mine": {"base": "auc", "colour": colour}}
        return from_mapping({"arms": own, "crossval": {"arms": ["mine"]}})

    with pytest.raises(
        UserError, match="the arm mine has the colour 'blurple'; expected one that matplotlib knows"
    ):
        checked(settings("blurple"))
    for colour in ("", "#ABCDEF", "rebeccapurple"):
        checked(settings(colour))


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_of_the_table_can_be_trained_as_it_stands(name):
    epochs = int(name.endswith("_finetuned"))
    (arm,) = checked(with_overrides(Settings(), {"crossval.arms": (name,), "finetune.epochs": epochs}))
    assert arm.name == name
