"""RSNA Screening Mammography (2023): 54,706 digital images of 11,913 patients, one in fifty with proven cancer.

Not run with this program yet: the set has 314 GB. Two sites with machines of their own: look at it with launch.inspect
before any number is believed.

python -m launch.crossval --config=configs/rsna.py --config.data.source=FOLDER
"""

from configs import default


def get_config():
    config = default.get_config()
    config.run = "runs/rsna"
    config.data.name = "rsna"
    config.data.labels = "malignant"
    config.training.epochs = 10
    config.training.inner = 2
    config.crossval.arms = (
        "resize224_svm",
        "bce",
        "auc",
        "pooled_bce",
        "cells_bce",
        "cells_auc",
        "breasts_bce",
        "exam_bce",
    )
    return config
