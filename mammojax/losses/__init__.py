"""The AUC loss library: losses over pairs of a positive and a negative score, for any JAX model.

Imports jax and numpy, and nothing else of this project.
"""

from mammojax.losses import buffers
from mammojax.losses.auc import auc
from mammojax.losses.buffers import ScoreBuffers, buffered_auc_loss
from mammojax.losses.pairwise import choose_implementation, pairwise_auc_loss
from mammojax.losses.pointwise import class_weighted_logistic_loss, logistic_loss

__all__ = [
    "ScoreBuffers",
    "auc",
    "buffered_auc_loss",
    "buffers",
    "choose_implementation",
    "class_weighted_logistic_loss",
    "logistic_loss",
    "pairwise_auc_loss",
]
