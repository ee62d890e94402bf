"""The built-in phantom screening set: the whole way, from DICOM files that are made on the spot to the table and report.

The paper's three arms and the program's own on films whose signs are known; their AUC says nothing of patients. The
report holds the table. launch/demo.sh installs what is needed and runs it.

python -m launch.crossval --config=configs/phantom.py
"""

from configs import default


def get_config():
    config = default.get_config()
    config.run = "runs/phantom"
    config.data.name = "phantom"
    config.data.source = "runs/phantom/dicom"
    config.data.phantom.height, config.data.phantom.width = 1536, 1152
    config.training.epochs = 4
    config.training.inner = 2
    # every cell of the map is read at half the resolution: a quarter of the scan
    config.crossval.arms = (
        "resize224_svm", "bce", "auc", "cells_bce:scan.scale=0.5", "exam_bce:scan.scale=0.5",
    )  # fmt: skip
    return config
