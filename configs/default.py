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
