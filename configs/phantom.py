"""The built-in phantom screening set, four arms; what launch/demo.sh runs.

python -m launch.crossval --config=configs/phantom.py
"""

from configs import default


def get_config():
    config = default.get_config()
    config.run = "runs/phantom"
    config.data.name = "phantom"
    config.data.source = "runs/phantom/dicom"
    return config
