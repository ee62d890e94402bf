"""Every field with its default, as `python -m launch.crossval --help` explains them; the other configs change a few.

Any field is a flag: --config.training.epochs=40. Of the values that the paper does not publish, learning rate and epochs
were chosen once on inner splits of the phantom; lambda (decoupled) shrinks weights by about a quarter over a training and
was not tuned. All are the same for the paper's arms. It reads your pictures, as folder.py does.

python -m launch.crossval --config=configs/default.py --config.data.source=FOLDER
"""

from ml_collections import config_dict

from mammojax.settings import defaults


def get_config() -> config_dict.ConfigDict:
    return config_dict.ConfigDict(
        defaults(), type_safe=False
    )  # the settings check every type, and say it better


def whole_table(name: str, labels: str, *, repeats: int = 1) -> config_dict.ConfigDict:
    """Of a real data set: the paper's arms beside the program's own."""
    config = get_config()
    config.run = f"runs/{name}"
    config.data.name = name
    config.data.labels = labels
    config.training.epochs = 10
    config.training.inner = 2
    config.crossval.repeats = repeats
    config.crossval.arms = (
        "resize224_svm", "bce", "auc", "pooled_bce", "cells_bce", "cells_auc", "breasts_bce", "exam_bce",
    )  # fmt: skip
    return config
