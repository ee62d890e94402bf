"""Mammogram classification from one global label per image, trained on the AUC itself.

After Sulam, Ben-Ari and Kisilev, "Maximizing AUC with Deep Learning for Classification of Imbalanced Mammogram
Datasets" (2017). Importing this package imports nothing heavy; take what you need from its parts:

    from mammojax.losses import pairwise_auc_loss      # usable with any JAX model
"""

__version__ = "0.1.0"
