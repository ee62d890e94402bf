"""The AUC loss library: losses over pairs of a positive and a negative score, for any JAX model.

Imports jax and numpy, and nothing else of this project (optax where `aucm_optimizer` is called).
"""

from mammojax.losses import buffers
from mammojax.losses.auc import auc
from mammojax.losses.aucm import AUCMVariables, aucm_loss, aucm_optimizer, aucm_saddle
from mammojax.losses.average_precision import average_precision_loss
from mammojax.losses.buffered import buffered_auc_loss
from mammojax.losses.buffers import ScoreBuffers
from mammojax.losses.pairwise import choose_implementation, fast_path, pairwise_auc_loss
from mammojax.losses.pointwise import class_weighted_logistic_loss, logistic_loss
from mammojax.losses.several import auc_losses, multilabel_auc_loss
from mammojax.losses.soft_partial import soft_partial_auc_loss
from mammojax.losses.two_pass import two_pass

__all__ = [
    "AUCMVariables",
    "ScoreBuffers",
    "auc",
    "auc_losses",
    "aucm_loss",
    "aucm_optimizer",
    "aucm_saddle",
    "average_precision_loss",
    "buffered_auc_loss",
    "buffers",
    "choose_implementation",
    "class_weighted_logistic_loss",
    "fast_path",
    "logistic_loss",
    "multilabel_auc_loss",
    "pairwise_auc_loss",
    "soft_partial_auc_loss",
    "two_pass",
]
