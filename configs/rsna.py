"""RSNA Screening Mammography (2023): 54,706 digital images of 11,913 patients, one in fifty with proven cancer.

Not run with this program yet: the set has 314 GB. Two sites with machines of their own: look at it with launch.inspect
before any number is believed.

python -m launch.crossval --config=configs/rsna.py --config.data.source=FOLDER
"""

from configs import default


def get_config():
    return default.whole_table("rsna", "malignant")
