"""The built-in phantom screening set: the whole way, from DICOM files that are made on the spot to the table and report.

The paper's four arms on films whose signs are known; their AUC says nothing of patients. Some minutes on two CPU cores.
launch/demo.sh installs what is needed and runs it.

python -m launch.crossval --config=configs/phantom.py
"""

from configs import default


def get_config():
    config = default.get_config()
    config.run = "runs/phantom"
    config.data.name = "phantom"
    config.data.source = "runs/phantom/dicom"
    return config
