"""CBIS-DDSM (Lee et al. 2017): 3,032 digitised films of 1,566 patients, malignant against benign findings.

Published (Shen et al. 2019): AUC 0.88 of an image with one network, first trained on patches of the annotated lesions;
the paper's arms see one label an image. Not run with this program yet: the archive has 163 GB. data.split=clean_train and
clean_test are the official split without the 31 patients that it has on both sides; cross-validation needs neither.

python -m launch.crossval --config=configs/cbis_ddsm.py --config.data.source=FOLDER
"""

from configs import default


def get_config():
    return default.whole_table("cbis_ddsm", "malignant")
