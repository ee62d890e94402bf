"""INbreast (Moreira et al. 2012): BI-RADS 4 to 6 against 1 and 2, patient-wise, five folds, five repeats; the set and the
task of the paper, whose table has 0.602 (resized), 0.630 (logistic loss) and 0.650 (AUC loss).

The published release, copies of it as PNG or JPEG, or a folder with the pictures and a CSV (path, patient, birads,
laterality, view). What the table showed on the development part at a quarter of the resolution, and what was chosen
where: docs/evidence.md.

python -m launch.crossval --config=configs/inbreast.py --config.data.source=FOLDER
"""

from configs import default


def get_config():
    return default.whole_table("inbreast", "birads_4_vs_2", repeats=5)
