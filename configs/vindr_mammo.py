"""VinDr-Mammo (Nguyen et al. 2023): 20,000 digital images of 5,000 exams, BI-RADS 4 and 5 against 1 and 2.

A screening set: some 5% of the images are positive, the imbalance that the paper is about. Not run with this program yet.
data.split=train and test are the official parts, whose exams are different women as far as is known.

python -m launch.crossval --config=configs/vindr_mammo.py --config.data.source=FOLDER
"""

from configs import default


def get_config():
    return default.whole_table("vindr_mammo", "birads_4_vs_2")
