"""The smallest cross-validation that goes every way: films made, prepared, scanned, two stages trained, a table.

Its numbers mean nothing; `launch.soak` kills it at random moments and compares its bytes. A checkpoint after every step.

python -m launch.soak --config=configs/soak.py --folder=runs/soak
"""

from configs import default


def get_config():
    config = default.get_config()
    config.run = "runs/soak"  # launch.soak gives each run a folder of its own
    config.data.name = "phantom"
    config.data.source = "runs/soak/dicom"
    config.data.workers = 0
    config.data.phantom.patients = 8
    config.data.phantom.prevalence = 0.5
    config.data.phantom.height = 128
    config.data.phantom.width = 96
    config.model.np = 4
    config.model.paper.filters = (8, 8)
    config.model.paper.hidden = (8,)
    config.training.epochs = 3
    config.training.inner = 2
    config.training.checkpoint_every = 1
    config.training.checkpoint_minutes = 0.0
    config.finetune.epochs = 1
    config.finetune.frozen = 10
    config.crossval.folds = 2
    config.crossval.resamples = 50
    config.crossval.arms = ("bce", "auc_finetuned")
    return config
