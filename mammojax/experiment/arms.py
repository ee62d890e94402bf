"""The arms of a table, as data: a name, a title, a colour, an objective, a stage, and the settings it starts from.

A new arm is one line in `ARMS`. Any setting of an arm can be overridden where it is named
("auc:loss.surrogate=hinge"), and arms of one's own stand in config.arms.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from mammojax.errors import UserError
from mammojax.settings import Settings, chosen_arm, parse_arm, with_overrides

Stage = Literal["svm", "maps", "merged"]


@dataclasses.dataclass(frozen=True)
class Arm:
    """title, colour: for tables and figures. stage: "svm" (whole-image features, baseline 1), "maps" (a classifier of the
    representation cache: stage one), "merged" (stage two, from pixels, on top of the arm `base`). objective: a name of
    `OBJECTIVES`. settings: what the arm changes of the run's settings, by path. name: as it was asked for.
    """

    title: str
    colour: str
    stage: Stage
    objective: str = ""
    base: str = ""
    settings: Any = dataclasses.field(default_factory=dict)
    name: str = ""

    @property
    def is_finetuned(self) -> bool:
        """Whether it belongs to stage two."""
        return self.stage == "merged"


# A linear score a cell, the mean of the top 2% of the tissue cells; the recipe of docs/evidence.md.
CELLS = {
    "model.classifier": "mil",
    "model.map": "dense",
    "model.tap": "stride32",
    "training.batch": 0,
    "training.epochs": 50,
    "training.learning_rate": 0.03,
    "training.schedule": "step",
    "training.warmup": 0.0,
    "training.clip": 0.0,
    "training.decay": "penalty",
    "training.regularisation": 2.0,
    "training.select": "last",
    "training.evaluate_every": 5,
}
# the same number of steps in batches: what stage two goes on from reads one batch at a time
IN_BATCHES = {**CELLS, "training.batch": 16, "training.epochs": 5, "training.evaluate_every": 1}
OTHER_BREAST = {**CELLS, "model.contrast": "channels"}
EXAM = {**CELLS, "model.contrast": "both", "model.views": "mean"}
POOLED = {**CELLS, "model.classifier": "pooled"}

ARMS: dict[str, Arm] = {
    "resize224_svm": Arm("Baseline 1: resized to 224 × 224, SVM", "#7f7f7f", "svm"),
    "bce": Arm("Baseline 2: logistic loss", "#0072b2", "maps", "logistic"),
    "weighted_bce": Arm("Class-weighted logistic loss", "#56b4e9", "maps", "weighted_logistic"),
    "auc": Arm("The paper's: AUC loss", "#d55e00", "maps", "auc"),
    "bce_finetuned": Arm("Logistic loss, fine-tuned", "#004c7a", "merged", "logistic", "bce"),
    "weighted_bce_finetuned": Arm(
        "Class-weighted, fine-tuned", "#3a7a99", "merged", "weighted_logistic", "weighted_bce"
    ),
    "auc_finetuned": Arm("AUC loss, fine-tuned", "#8a3d00", "merged", "auc", "auc"),
    "pooled_bce": Arm("Pooled channels, logistic loss", "#999933", "maps", "logistic", settings=POOLED),
    "cells_bce": Arm("Top cells, logistic loss", "#009e73", "maps", "logistic", settings=CELLS),
    "cells_bce_finetuned": Arm(
        "Top cells, logistic loss, fine-tuned",
        "#00664b",
        "merged",
        "logistic",
        "cells_bce",
        settings=IN_BATCHES,
    ),
    "cells_weighted_bce": Arm(
        "Top cells, class-weighted", "#44aa99", "maps", "weighted_logistic", settings=CELLS
    ),
    "cells_auc": Arm("Top cells, AUC loss", "#e69f00", "maps", "auc", settings=CELLS),
    "cells_auc_bce": Arm(
        "Top cells, half AUC, half logistic", "#ddaa33", "maps", "auc_and_logistic", settings=CELLS
    ),
    "cells_compositional": Arm(
        "Top cells, AUC after a logistic step", "#aa7744", "maps", "compositional_auc", settings=CELLS
    ),
    "cells_pauc": Arm("Top cells, partial AUC loss", "#6699cc", "maps", "partial_auc", settings=CELLS),
    "cells_soft_pauc": Arm(
        "Top cells, soft partial AUC loss", "#4477aa", "maps", "soft_partial_auc", settings=CELLS
    ),
    "cells_soft_two_way": Arm(
        "Top cells, soft two-way AUC loss", "#224466", "maps", "soft_two_way_auc", settings=CELLS
    ),
    "cells_aucm": Arm("Top cells, min-max margin loss", "#bb5566", "maps", "aucm", settings=CELLS),
    "cells_ap": Arm("Top cells, average precision", "#997700", "maps", "average_precision", settings=CELLS),
    "breasts_bce": Arm(
        "Top cells and the other breast, logistic loss", "#117733", "maps", "logistic", settings=OTHER_BREAST
    ),
    "breasts_auc": Arm(
        "Top cells and the other breast, AUC loss", "#cc6677", "maps", "auc", settings=OTHER_BREAST
    ),
    "exam_bce": Arm("Read with its exam, logistic loss", "#332288", "maps", "logistic", settings=EXAM),
    "exam_auc": Arm("Read with its exam, AUC loss", "#aa4499", "maps", "auc", settings=EXAM),
}


def arm_of(settings: Settings, text: str, arms: Mapping[str, Arm] = ARMS) -> Arm:
    """The arm that is written so, its `settings` the whole tree with everything in place.

    What the arm's line sets stands above the run's settings, what was written with its name above both.
    Raises UserError for an unknown arm.
    """
    name, _ = parse_arm(text)
    base = settings.arms[name]["base"] if name in settings.arms else name
    if base not in arms:
        raise UserError(f"unknown arm {text!r}; expected some of {', '.join((*arms, *settings.arms))}")
    line = arms[base]
    choice = chosen_arm(with_overrides(settings, line.settings), text)
    title = choice.title or line.title
    beside = ("" if choice.title or name == base else name, text.partition(":")[2])
    changes = ": ".join(filter(None, beside))
    return dataclasses.replace(
        line,
        name=text,
        title=f"{title} ({changes})" if changes else title,
        colour=choice.colour or line.colour,
        settings=choice.settings,
    )


def base_arm(arm: Arm, arms: Mapping[str, Arm] = ARMS) -> Arm:
    """Stage one of an arm of stage two: the same settings."""
    return dataclasses.replace(arms[arm.base], name=arm.base, settings=arm.settings)
