"""CBIS-DDSM (Lee et al. 2017): 3,032 digitised films of 1,566 patients, malignant against benign findings.

Published (Shen et al. 2019): AUC 0.88 of an image with one network, first trained on patches of the annotated lesions;
the paper's arms see one label an image. Not run with this program yet: the archive has 163 GB. data.split=clean_train and
clean_test are the official split without the 31 patients that it has on both sides; cross-validation needs neither.

python -m launch.crossval --config=configs/cbis_ddsm.py --config.data.source=FOLDER
"""

from configs import default


def get_config():
    config = default.get_config()
    config.run = "runs/cbis_ddsm"
    config.data.name = "cbis_ddsm"
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
