"""Your own pictures: a folder with a CSV of path, patient and label (or birads); the README shows one.

The paper's four arms on them. Time: some seconds an image to prepare and to scan on one CPU core, then minutes a fold.

python -m launch.crossval --config=configs/folder.py --config.data.source=FOLDER
With BI-RADS and no label: ... --config.data.labels=birads_4_vs_2
"""

from configs import default


def get_config():
    config = default.get_config()
    config.run = "runs/folder"
    config.data.name = "folder"
    return config
