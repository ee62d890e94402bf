"""Your own pictures: a folder with a CSV of path, patient and label (or birads); see docs in README.md.

python -m launch.crossval --config=configs/folder.py --config.data.source=FOLDER --config.data.labels=birads_4_vs_2
"""

from configs import default


def get_config():
    config = default.get_config()
    config.run = "runs/folder"
    config.data.name = "folder"
    return config
