"""The settings of the classifiers: a section each, read where model.classifier names it."""

import dataclasses

from mammojax.settings.field import field


@dataclasses.dataclass(frozen=True)
class Paper:
    """The paper's classifier (model.classifier=paper)."""

    filters: tuple[int, ...] = field(
        (256, 128, 256), "Channels of its 3 x 3 convolutions.", least=1, most=8192
    )
    hidden: tuple[int, ...] = field((512, 512), "Units of its fully connected layers.", least=1, most=65536)
    dropout: float = field(0.0, "Share of units left out while training.", least=0.0, below=1.0)


@dataclasses.dataclass(frozen=True)
class Mil:
    """A score a cell, pooled over the most suspicious ones (model.classifier=mil)."""

    hidden: int = field(0, "Units of one hidden layer a cell; 0: a linear score.", least=0, most=4096)
    pool: str = field(
        "top",
        "How cells become one score: mean of the top share, log-sum-exp, gated attention, mean.",
        choices=("top", "lse", "attention", "mean"),
    )
    top: float = field(
        0.02, "pool=top: share of the tissue cells that count (at least one cell).", above=0.0, most=1.0
    )
    anneal: float = field(
        0.4,
        "pool=top: share of the training over which that share falls from all cells.",
        least=0.0,
        most=1.0,
    )
    temperature: float = field(
        1.0, "pool=lse: its temperature, in units of a cell's score.", above=0.0, most=1e6
    )
    dropout: float = field(0.0, "Share of channels left out while training.", least=0.0, below=1.0)


@dataclasses.dataclass(frozen=True)
class Pooled:
    """Statistics of the map and a linear score (model.classifier=pooled)."""

    statistics: tuple[str, ...] = field(
        ("mean", "top", "deviation"),
        "Of each channel over tissue cells; deviation: the standard one.",
        choices=("mean", "top", "bottom", "deviation"),
    )
    top: float = field(0.02, "Share of the cells behind `top` and `bottom`.", above=0.0, most=1.0)
