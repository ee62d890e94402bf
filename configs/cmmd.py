"""CMMD (Cui et al. 2021): 3,744 digital images of 1,872 breasts with proven findings, 2,632 malignant, 1,112 benign.

Not run with this program yet. The images of 729 other breasts have no label and are left out; some published code counts
them as negative, which data.labels=unlabelled_negative does by name. Positives are the majority here.

python -m launch.crossval --config=configs/cmmd.py --config.data.source=FOLDER
"""

from configs import default


def get_config():
    return default.whole_table("cmmd", "malignant")
