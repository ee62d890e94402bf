"""The head that all losses train, on the maps of a data set as an arm of the table would see them."""

from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx

from mammojax.benchmarks.imbalance.study import Trainer
from mammojax.datasets import samples as sampling
from mammojax.datasets.record import RecordSet
from mammojax.errors import UserError
from mammojax.experiment import inputs
from mammojax.experiment.maps import RESIDENT
from mammojax.experiment.split import Split, splits
from mammojax.models.classifiers import classifier_module
from mammojax.representations.bags import Bags
from mammojax.representations.statistics import ChannelSums
from mammojax.settings import Settings, to_mapping
from mammojax.training.optimizer import Optimizer
from mammojax.training.step import Maps


class Heads:
    """The folds of a prepared set and the trainer of each; what several stages read is made once.

    settings: of an arm on maps; its loss, learning rate and decay are the benchmark's to set. samples, splits: of the first
    repeat. Raises UserError where the maps of all samples do not fit into memory at once.
    """

    def __init__(self, settings: Settings, records: RecordSet, *, say: Callable, track: Callable):
        self._settings = settings
        self._maps = inputs.represented(settings, records, inputs.network(settings), say=say, track=track)
        self.samples = sampling.samples(records, settings.data.sample)
        self.splits: list[Split] = splits(
            self.samples, folds=settings.crossval.folds, inner=settings.training.inner, seed=settings.seed
        )
        self._sums = ChannelSums(self._maps)
        self._partner = sampling.partner(records) if settings.model.contrast in ("channels", "both") else None
        self._held: tuple = (None, None)
        model = to_mapping(settings)["model"]
        self.made_from = {
            "prepared": Path(records.directory).name,
            "representations": self._maps.key,
            "sample": settings.data.sample,
            "split": [settings.seed, settings.crossval.folds, settings.training.inner],
            "model": {name: model[name] for name in ("classifier", "contrast", model["classifier"])},
            "optimizer": repr(self._optimizer()),
        }

    def trainer(self, parts: Split) -> Trainer:
        """Of one fold: channels are in units of its training records."""
        module = classifier_module(self._settings.model.classifier)
        members = self.samples.members
        mean, deviation = self._sums.of(np.concatenate([members[k] for k in parts.train]))
        form = {"spatial": module.SPATIAL, "mean": mean, "deviation": deviation, "partner": self._partner}
        bags = Bags(self._maps, members, **form)
        options = getattr(self._settings.model, self._settings.model.classifier)

        def build(seed: int) -> nnx.Module:
            model = module.build(bags.shape, options, rngs=nnx.Rngs(seed))
            model.set_normalisation(*bags.normalisation)
            return model

        return Trainer(build, self._optimizer(), self._on_device(bags, parts.fold), self.samples.labels)

    def _on_device(self, bags: Bags, fold: int) -> Maps:
        key = fold if self._partner is not None else 0  # differences are in the units of the fold
        if self._held[0] != key:
            if bags.bytes > RESIDENT:
                raise UserError(
                    f"the maps of all samples take {bags.bytes / 1e9:.1f} GB and at most {RESIDENT / 1e9:.1f} GB are held "
                    f"at once; set config.scan.scale=0.5 or less"
                )
            self._held = (None, None)
            stacked = bags.stacked()
            self._held = (key, Maps(jnp.asarray(stacked.values), jnp.asarray(stacked.tissue)))
        return self._held[1]

    def _optimizer(self) -> Optimizer:
        training = self._settings.training
        names = ("learning_rate", "schedule", "warmup", "clip", "decay", "regularisation", "average")
        return Optimizer(steps=training.epochs, **{name: getattr(training, name) for name in names})
