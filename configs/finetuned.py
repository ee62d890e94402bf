"""Stage two on a real set: scanning network and classifier merged and trained on from pixels, beside stage one.

One seed, half the scale, the first twelve layers of the scanning network left as they are: what two epochs of it cost and
bring on some 200 films is in docs/evidence.md.

python -m launch.crossval --config=configs/finetuned.py --config.data.source=FOLDER
"""

from configs import default


def get_config():
    config = default.whole_table("inbreast", "birads_4_vs_2")
    config.run = "runs/finetuned"
    config.scan.scale = 0.5
    config.finetune.epochs = 2
    config.finetune.frozen = 12
    config.crossval.arms = (
        "cells_bce:training.batch=16,training.epochs=5,training.evaluate_every=1", "cells_bce_finetuned",
    )  # fmt: skip
    return config
