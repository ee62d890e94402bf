"""The paper's classifier with its open choices: which layer it reads, and how strongly its kernels are shrunk.

The paper gives no lambda for a decoupled decay and another backbone has other layers. The report's table of inner AUCs is
what a choice may be made by; the held-out table is for its reader. It was not run to its end yet: no figure is known.

python -m launch.crossval --config=configs/papers_classifier.py --config.data.source=FOLDER
"""

from configs import default


def get_config():
    config = default.whole_table("inbreast", "birads_4_vs_2")
    config.run = "runs/papers_classifier"
    config.crossval.arms = tuple(
        f"{loss}:model.tap={tap},training.regularisation={strength}"
        for loss in ("bce", "auc")
        for tap in ("stride16", "stride32")
        for strength in (0.1, 10, 100)
    )
    return config
