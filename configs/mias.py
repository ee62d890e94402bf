"""mini-MIAS (Suckling et al. 1994): 322 films of 161 patients, any finding against none, five patient-wise folds.

The paper's arms and the program's own on a public set of MLO views; what the table showed on 196 films, and what was
chosen where: docs/evidence.md.

python -m launch.crossval --config=configs/mias.py --config.data.source=FOLDER_WITH_all-mias.tar.gz
"""

from configs import default


def get_config():
    return default.whole_table("mias", "abnormal", repeats=5)
