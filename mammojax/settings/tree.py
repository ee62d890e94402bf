"""The settings of a run: one typed tree. Every field has its type, its default, its choices or range, and one sentence.

`configs/` fills the tree, any field is a flag (--config.training.epochs=40), `--help` and every check come from here. A
field that names an entry of a table (a backbone, a surrogate, ...) says which table; who checks passes the tables in,
so that a new entry is a line in its own table and nowhere else. A new field is a line here.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mammojax.settings.classifiers import Mil, Paper, Pooled
from mammojax.settings.field import field


@dataclasses.dataclass(frozen=True)
class Phantom:
    """The built-in screening set (data.name=phantom)."""

    patients: int = field(48, "Patients, four images each.", least=1, most=100000)
    prevalence: float = field(0.35, "Share of patients with a malignant lesion.", least=0.0, most=1.0)
    height: int = field(2048, "Rows of a film, pixels.", least=64, most=8192)
    width: int = field(1536, "Columns of a film, pixels.", least=64, most=8192)
    difficulty: float = field(0.5, "0: obvious signs, 1: invisible ones.", least=0.0, most=1.0)


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder of pictures with a CSV (data.name=folder): the names of the CSV's columns."""

    csv: str = field("", "The table's file name; empty: the only CSV in the folder.")
    path: str = field("path", "Column of the picture's path, relative to the folder.")
    patient: str = field(
        "patient", "Column of the patient; `header` takes every patient from the files' headers."
    )
    label: str = field("label", "Column of a ready-made label or a pathology word.")
    birads: str = field("birads", "Column of the BI-RADS assessment.")
    laterality: str = field("laterality", "Column of the side.")
    view: str = field("view", "Column of the view.")
    split: str = field("split", "Column of an official split.")
    keep_split: str = field("", "Only rows with this value in the split column; empty: all rows.")


@dataclasses.dataclass(frozen=True)
class Data:
    """What is read."""

    name: str = field("folder", "The data set.", table="builders")
    source: str = field(
        "",
        "The folder (or archive) with the files, as they were downloaded; gs:// and s3:// too.",
        place=True,
    )
    labels: str = field("", "The label scheme; empty: the data set's default.", table="label_schemes")
    also: tuple[str, ...] = field(
        (), "Sets trained with it, results a set: 'mias:source=FOLDER,labels=abnormal' (or split, depth)."
    )
    split: str = field("", "Part of an official split: train, test, clean_train, clean_test; empty: all.")
    prepared: str = field(
        "", "Folder of prepared sets; empty: RUN/prepared. Share it between runs to prepare once.", place=True
    )
    margin: float = field(
        0.02, "What the breast box grows by, share of its longer side.", least=0.0, most=0.5
    )
    depth: int = field(
        0,
        "Bits of 16-bit PNG, TIFF and PGM files, as their source states; 0: found from all files of the set together.",
        least=0,
        most=16,
    )
    for_processing: str = field(
        "log", "Raw detector images: a stated log transform, or refused.", choices=("log", "refuse")
    )
    workers: int = field(-1, "Reading processes; -1: one a core, 0: none.", least=-1, most=1024)
    strict: bool = field(False, "A rejected file is an error.")
    sample: str = field("image", "What gets one score in training.", choices=("image", "breast", "patient"))
    phantom: Phantom = dataclasses.field(default_factory=Phantom)
    folder: Folder = dataclasses.field(default_factory=Folder)


@dataclasses.dataclass(frozen=True)
class Model:
    """The scanning network, the map it gives, and the classifier."""

    backbone: str = field("efficientnet_lite0", "The pretrained scanning network.", table="backbones")
    weights: str = field("", "A weights file; empty: the backbone's own.", place=True)
    tap: str = field("", "The layer that representations are taken from; empty: the backbone's default.")
    map: str = field(
        "grid",
        "grid: np x np cells (the paper). dense: every cell of the tap over the crop.",
        choices=("grid", "dense"),
    )
    np: int = field(15, "Cells a side of the grid.", least=1, most=256)
    max_side: int = field(
        0,
        "Longest side in pixels that is scanned; larger crops are reduced. 0: no limit.",
        least=0,
        most=65536,
    )
    intensity: str = field(
        "none",
        "Step before the network: none, or the tissue's percentiles stretched to a fixed range.",
        choices=("none", "percentiles"),
    )
    precision: str = field(
        "float32",
        "Of the scanning network's products; sums and all else are float32.",
        choices=("float32", "bfloat16"),
    )
    classifier: str = field("paper", "What turns a map into a score.", table="classifiers")
    contrast: str = field(
        "none",
        "The other breast: its smoothed difference as channels, minus a share of its score, or both.",
        choices=("none", "channels", "score", "both"),
    )
    share: float = field(
        0.5,
        "contrast=score, both: share of the other breast's score that is taken away.",
        least=0.0,
        most=1.0,
    )
    views: str = field(
        "own", "own: each image's own score. mean: the mean of its breast's views.", choices=("own", "mean")
    )
    ensemble: int = field(1, "Networks from different seeds whose scores are averaged.", least=1, most=100)
    paper: Paper = dataclasses.field(default_factory=Paper)
    mil: Mil = dataclasses.field(default_factory=Mil)
    pooled: Pooled = dataclasses.field(default_factory=Pooled)


@dataclasses.dataclass(frozen=True)
class Scan:
    """The scan of all crops, once."""

    representations: str = field(
        "", "The cache; empty: RUN/representations. Share it between runs to scan once.", place=True
    )
    scale: float = field(1.0, "Of the crop before it is scanned, by area averaging.", above=0.0, most=1.0)
    cache: str = field(
        "float16", "The type in which representations are kept.", choices=("float16", "bfloat16", "float32")
    )
    batch: int = field(0, "Images a step; 0: 1 on a CPU, 16 on an accelerator.", least=0, most=4096)
    copies: int = field(1, "Representations of each image: 1 plain, the others augmented.", least=1, most=64)
    workers: int = field(0, "Reading processes; 0 reads with threads.", least=0, most=1024)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of a crop: of the copies of stage one (scan.copies > 1) and of stage two."""

    flip: float = field(
        0.5, "Probability of an up-down flip (the chest wall stays left).", least=0.0, most=1.0
    )
    rotation: float = field(8.0, "Degrees, plus or minus.", least=0.0, most=180.0)
    scaling: float = field(0.1, "Plus or minus.", least=0.0, most=1.0)
    intensity: float = field(
        0.1, "Contrast plus or minus, brightness plus or minus half of it.", least=0.0, most=1.0
    )


@dataclasses.dataclass(frozen=True)
class Loss:
    """The AUC loss."""

    pairs: str = field(
        "buffer",
        "Pairs of the batch, of batch and score buffers (eq. 3), or of many batches in two passes.",
        choices=("batch", "buffer", "two_pass"),
    )
    policy: str = field("all", "What the score buffers keep.", choices=("all", "reservoir", "fifo"))
    capacity: int = field(
        0,
        "Stored scores of each class for reservoir and fifo; 0: one a training sample.",
        least=0,
        most=10**9,
    )
    surrogate: str = field("logistic", "What a pair costs (logistic: eq. 4).", table="surrogates")
    implementation: str = field(
        "auto", "How pairs are summed.", choices=("auto", "materialized", "tiled", "fast")
    )
    margin: float = field(0.0, "A pair is right when the positive is higher by this.", least=-1e6, most=1e6)
    temperature: float = field(1.0, "Score differences are divided by it.", above=0.0, most=1e6)
    max_fpr: float = field(0.1, "Partial AUC: up to this false positive rate.", above=0.0, most=1.0)
    min_tpr: float = field(0.0, "Partial AUC: from this true positive rate on.", least=0.0, below=1.0)
    weights: str = field(
        "none", "device: machines weigh the same in all within a class.", choices=("none", "device")
    )
    inner_rate: float = field(0.1, "Compositional AUC: rate of the logistic step.", least=0.0, most=1e6)
    softness: float = field(1.0, "Soft partial AUC: small, the hardest alone.", above=0.0, most=1e6)
    two_pass_batches: int = field(
        0, "pairs=two_pass, stage one: batches a step; 0: a whole epoch.", least=0, most=10**6
    )
    correct_drift: bool = field(
        True, "Stored scores are moved by the mean change of the batch's own samples."
    )


@dataclasses.dataclass(frozen=True)
class Training:
    """How a classifier is fitted; an arm may override any field."""

    epochs: int = field(20, "Passes over the training samples.", least=1, most=100000)
    batch: int = field(16, "Samples a step; 0: all of them.", least=0, most=65536)
    positives: float = field(
        0.0, "Share of them in a batch of stage one, weighted to the same loss; 0: any.", least=0.0, below=1.0
    )
    learning_rate: float = field(3e-4, "The largest of the schedule.", above=0.0, most=100.0)
    schedule: str = field(
        "cosine",
        "How the learning rate falls; step: x 0.3 after 70% of the steps.",
        choices=("constant", "cosine", "linear", "step"),
    )
    warmup: float = field(0.05, "Share of the steps over which the learning rate rises.", least=0.0, most=1.0)
    clip: float = field(1.0, "Largest norm of the gradient; 0: none.", least=0.0, most=1e6)
    decay: str = field(
        "decoupled",
        "How lambda acts: decoupled from the gradient (AdamW), or as lambda/2 ||W||^2 in the loss (the paper; Adam's normaliser undoes small ones).",
        choices=("decoupled", "penalty"),
    )
    regularisation: float = field(10.0, "lambda, of all kernels.", least=0.0, most=1000.0)
    average: float = field(
        0.0,
        "Decay of the running average of the weights that is kept; 0: the last weights.",
        least=0.0,
        below=1.0,
    )
    select: str = field(
        "inner", "Epochs: chosen by the mean inner curve, or the last one.", choices=("inner", "last")
    )
    inner: int = field(4, "Inner folds, which select the epoch and calibrate out of fold.", least=2, most=100)
    evaluate_every: int = field(1, "Epochs between evaluations.", least=1, most=100000)
    checkpoint_every: int = field(10, "Epochs between checkpoints.", least=1, most=100000)
    checkpoint_minutes: float = field(
        10.0, "Minutes between checkpoints, within an epoch too; 0: after every step.", least=0.0, most=1e6
    )


@dataclasses.dataclass(frozen=True)
class Finetune:
    """Stage two: scanning network and classifier merged, trained from pixels."""

    epochs: int = field(
        0, "Passes over the training images; arms of stage two need at least 1.", least=0, most=100000
    )
    batch: int = field(2, "Images that are in memory at a time.", least=1, most=4096)
    microbatches: int = field(
        1, "Batches that share one loss and make one step; 0: a whole epoch.", least=0, most=10**6
    )
    learning_rate: float = field(3e-5, "The largest of the schedule.", above=0.0, most=100.0)
    scanning_rate: float = field(0.1, "Factor of it for the scanning network.", least=0.0, most=100.0)
    frozen: int = field(
        0, "Layers of the scanning network, from the pixels on, that are not trained.", least=0, most=1000
    )


@dataclasses.dataclass(frozen=True)
class Mesh:
    """The devices of a program, as a grid."""

    data: int = field(
        0, "Devices that share the images of a batch; 0: all that are there.", least=0, most=4096
    )
    rows: int = field(
        1, "Devices that share the rows of one image while it is scanned, for huge ones.", least=1, most=4096
    )
    shard: int = field(
        0, "Kernels of so many numbers and more lie spread, in training; 0: none.", least=0, most=10**9
    )


@dataclasses.dataclass(frozen=True)
class Crossval:
    """The table."""

    folds: int = field(5, "Patient-wise folds.", least=2, most=1000)
    repeats: int = field(1, "Times that folds and seeds are drawn anew.", least=1, most=1000)
    arms: tuple[str, ...] = field(
        ("resize224_svm", "bce", "weighted_bce", "auc"),
        "Rows of the table; any settings of one can be overridden: 'auc:loss.surrogate=hinge,training.epochs=40'.",
        table="arms",
    )
    proposed: str = field("", "The arm that differences are taken from; empty: the last one.")
    control: str = field(
        "none",
        "A control in place of the study: labels exchanged between patients, a random patient's other breast, or folds drawn "
        "image by image, which leak.",
        choices=("none", "labels", "partner", "images"),
    )
    resamples: int = field(2000, "Of the bootstrap.", least=2, most=1000000)


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings of a run. arms: arms of one's own, by name: {"base": "auc", "title": ..., "loss": {"policy": "fifo"}}."""

    run: str = field("runs/default", "The run directory: everything that a run makes lies in it.", place=True)
    mirror: str = field(
        "",
        "A bucket's folder (gs://, s3://) that finished results are copied to and taken from; empty: none.",
    )
    seed: int = field(0, "Every random stream is derived from it by name.", least=0, most=2**31 - 1)
    data: Data = dataclasses.field(default_factory=Data)
    model: Model = dataclasses.field(default_factory=Model)
    scan: Scan = dataclasses.field(default_factory=Scan)
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    loss: Loss = dataclasses.field(default_factory=Loss)
    training: Training = dataclasses.field(default_factory=Training)
    finetune: Finetune = dataclasses.field(default_factory=Finetune)
    mesh: Mesh = dataclasses.field(default_factory=Mesh)
    crossval: Crossval = dataclasses.field(default_factory=Crossval)
    arms: Mapping[str, Any] = dataclasses.field(
        default_factory=dict,
        metadata={"sentence": "Arms of one's own by name, from a config file; see the README."},
    )
