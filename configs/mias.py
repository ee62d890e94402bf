"""mini-MIAS (Suckling et al. 1994): 322 films of 161 patients, any finding against none.

The paper's four arms on a public set. Some minutes on two CPU cores to prepare and to scan, then less for each fold.

python -m launch.crossval --config=configs/mias.py --config.data.source=FOLDER_WITH_all-mias.tar.gz
"""

from configs import default


def get_config():
    config = default.get_config()
    config.run = "runs/mias"
    config.data.name = "mias"
    config.data.labels = "abnormal"
    return config
