"""Cross-validation and its parts; `crossval(settings)` does what the launcher does."""

from mammojax.experiment.crossval import crossval

__all__ = ["crossval"]
