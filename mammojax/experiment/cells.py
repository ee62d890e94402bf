"""The cells of one table over one prepared set: what each kind of arm reads, how it learns, what is written of it."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mammojax.datasets import samples as sampling
from mammojax.datasets.acquisition import read_acquisitions
from mammojax.datasets.folds import refuse_shared_pictures, save_folds
from mammojax.datasets.record import RecordSet
from mammojax.experiment import fit, inputs
from mammojax.experiment.arms import Arm, base_arm
from mammojax.experiment.controls import exchanged_labels, image_by_image, random_partner
from mammojax.experiment.finetune import MergedLearner
from mammojax.experiment.fit import Scored
from mammojax.experiment.maps import RESIDENT, MapLearner
from mammojax.experiment.model import UNITS
from mammojax.experiment.predictions import described
from mammojax.experiment.split import Split, splits
from mammojax.experiment.svm import fit_svm
from mammojax.models.classifiers import classifier_module
from mammojax.representations.bags import Bags
from mammojax.representations.statistics import ChannelSums
from mammojax.runs import processes
from mammojax.runs.share import Piece
from mammojax.seeds import stream
from mammojax.settings import Settings, to_mapping
from mammojax.training.objectives import OBJECTIVES
from mammojax.training.pace import Pace
from mammojax.training.sampling import device_weights
from mammojax.training.saved import arrays_of

SPEED_FILE = "speed.jsonl"


class Experiment:
    """The cells of one table over one prepared set; what several cells read is made once."""

    def __init__(
        self,
        settings: Settings,
        records: RecordSet,
        *,
        profile: tuple[int, int] | None = None,
        say: Callable,
        track: Callable,
    ):
        """profile: see `Pace`."""
        self._settings, self._records, self._say, self._track = settings, records, say, track
        self._own_mesh, self._mesh = inputs.meshes(settings)
        table = settings.crossval
        self._samples = sampling.samples(records, settings.data.sample)
        self._sets = records.sets[[members[0] for members in self._samples.members]]
        partner, other = sampling.partner(records), sampling.other_view(records)
        if table.control == "labels":
            exchanged = exchanged_labels(self._samples, self._sets, seed=settings.seed)
            self._samples = dataclasses.replace(self._samples, labels=exchanged)
        leaks = table.control == "images"
        if leaks:
            self._samples = image_by_image(self._samples)
        self.splits: list[Split] = [
            parts
            for repeat in range(table.repeats)
            for parts in splits(
                self._samples,
                folds=table.folds,
                inner=settings.training.inner,
                seed=settings.seed,
                repeat=repeat,
                sets=self._sets,
            )
        ]
        repeats = [np.zeros(len(records), int) for _ in range(table.repeats)]
        for parts in self.splits:
            for k in parts.held_out:
                repeats[parts.repeat][self._samples.members[k]] = parts.fold
        self._partners = [partner] * table.repeats
        if table.control == "partner":
            self._partners = [
                random_partner(records, partner, folds, seed=stream(settings.seed, "repeat", repeat))
                for repeat, folds in enumerate(repeats)
            ]
        self._neighbours = [inputs.neighbours(self._samples, found, other) for found in self._partners]
        if not leaks:
            for folds in repeats:  # the same picture trained on and tested
                refuse_shared_pictures(records, folds)
        save_folds(Path(settings.run) / "folds.json", records, repeats, seed=settings.seed)
        self._maps = inputs.MapsCache(RESIDENT)
        # one of several processes of a program writes
        pace = Path(settings.run) / SPEED_FILE if processes.is_first() else None
        self._pace = Pace(pace, profile=profile if processes.is_first() else None, say=say)
        self._networks, self._represented, self._sums, self._features, self._fits = {}, {}, {}, {}, {}

    def is_together(self, arm: Arm, parts: Split) -> bool:
        """Whether all processes of the program train this cell, step by step, on the mesh of all their devices; any of them
        makes the others by itself."""
        if processes.count() == 1 or arm.stage == "svm":
            return False
        if arm.stage == "merged":
            return True
        training = arm.settings.training
        everything = training.batch == 0 or training.batch >= len(parts.train)
        if not everything or arm.settings.scan.copies > 1:
            return True
        made, spatial = (
            self._representations(arm.settings),
            classifier_module(arm.settings.model.classifier).SPATIAL,
        )
        partner = self._partners[parts.repeat] if _is_contrasted(arm.settings) else None
        key = (made.key, spatial, partner is None)
        if key not in self._fits:
            bags = Bags(
                made, self._samples.members, spatial=spatial, mean=None, deviation=None, partner=partner
            )
            self._fits[key] = bags.bytes <= RESIDENT
        return not self._fits[key]

    def cell(self, arm: Arm, parts: Split) -> Piece:
        """The work of an arm on a fold; see `fit.cell`."""
        learn, made_from = {"svm": self._svm, "maps": self._stage_one, "merged": self._stage_two}[arm.stage](
            arm, parts
        )
        settings = arm.settings
        network = self._network(settings)
        heights = [record.height for record in self._records.records]
        use = {
            "backbone": network.backbone.name,
            "tap": network.tap,
            "weights": settings.model.weights,
            "seed": self._settings.seed,
            "network": network.identity,
            "reading": inputs.reading(settings),
            "intensity": settings.model.intensity,
            "precision": settings.model.precision,
            "cache": settings.scan.cache,
            "contrast": settings.model.contrast,
            "classifier": settings.model.classifier,
            "options": to_mapping(settings)["model"].get(settings.model.classifier, {}),
            "sample": settings.data.sample,
            "sets": list(self._records.set_names),
            "margin": settings.data.margin,
            "depth": self._records.depth,
            "for_processing": settings.data.for_processing,
            "crop_rows": [min(heights), int(np.median(heights)), max(heights)],
        }
        return fit.cell(
            Path(self._settings.run),
            arm,
            parts,
            learn,
            made_from={
                "prepared": self._records.directory.name,
                "network": network.identity,
                "control": self._settings.crossval.control,
                **made_from,
            },
            use=use,
            rows=self._rows,
            labels=self._samples.labels,
            neighbours=self._neighbours[parts.repeat],
            seed=self._settings.seed,
            together=self.is_together(arm, parts),
            say=self._say,
        )

    def over(self) -> None:
        """No cell is asked for any more."""
        self._pace.over()

    def _rows(self, numbers: np.ndarray) -> list[list[dict]]:
        # a sample of several records has the largest of their labels; a control has its own
        own = self._settings.crossval.control != "labels"
        return described(self._records, self._samples, numbers, labels=None if own else self._samples.labels)

    def _network(self, settings: Settings):
        model = settings.model
        key = (model.backbone, model.tap, model.weights)
        if key not in self._networks:
            self._networks[key] = inputs.network(settings)
            self._say(f"scanning network: {self._networks[key].provenance}")
        return self._networks[key]

    def _representations(self, settings: Settings):
        key = repr((settings.model.backbone, settings.model.tap, settings.model.weights, settings.model.precision,
                    settings.model.intensity, inputs.reading(settings), settings.scan, settings.augmentation))  # fmt: skip
        if key not in self._represented:
            made = inputs.represented(
                settings, self._records, self._network(settings), say=self._say, track=self._track
            )
            self._represented[key] = made
        return self._represented[key]

    def _svm(self, arm: Arm, parts: Split):
        from mammojax.representations.whole_image import whole_image_features

        network = self._network(arm.settings)
        if network.identity not in self._features:
            self._features[network.identity] = whole_image_features(
                self._records, network, inputs.cache_folder(arm.settings), track=self._track, say=self._say
            )
        features, key = self._features[network.identity]

        def learn(folder: Path, seed: int) -> Scored:
            found = fit_svm(features, self._samples.labels, parts)
            arrays = {name: np.asarray(value) for name, value in vars(found.scorer).items()}
            scores = found.scorer.scores(features[parts.held_out])
            return Scored(scores, found.out_of_fold, arrays, {"C": found.cost}, found.cost_aucs)

        return learn, {"features": key}

    def _units(self, made, parts: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """(mean, deviation, sets) of the training folds; see `ChannelSums.of_sets`."""
        if made.key not in self._sums:
            self._sums[made.key] = ChannelSums(made)
        train = np.concatenate([self._samples.members[k] for k in parts.train])
        return self._sums[made.key].of_sets(train, self._records.sets)

    def _mesh_of(self, arm: Arm, parts: Split):
        return self._mesh if self.is_together(arm, parts) else self._own_mesh

    def _map_learner(self, arm: Arm, parts: Split, mesh) -> MapLearner:
        settings = arm.settings
        made = self._representations(settings)
        module = classifier_module(settings.model.classifier)
        mean, deviation, sets = self._units(made, parts)
        channels = _is_contrasted(settings)
        make = functools.partial(
            Bags,
            made,
            self._samples.members,
            spatial=module.SPATIAL,
            mean=mean,
            deviation=deviation,
            partner=self._partners[parts.repeat] if channels else None,
            sets=sets,
        )
        own = channels or sets is not None
        key = (made.key, module.SPATIAL, channels, (parts.repeat, parts.fold) if own else None)
        bags, maps = self._maps.bags(key, make, mesh)
        if not own:  # the maps are those of any fold, their normalisation is not
            bags = make()
        options = getattr(settings.model, settings.model.classifier, None)

        def build(seed: int):
            from flax import nnx

            return module.build(bags.shape, options, rngs=nnx.Rngs(seed))

        group = settings.loss.two_pass_batches if _two_pass(arm) else 1
        return MapLearner(
            bags,
            maps,
            self._samples.labels,
            build=build,
            objective=OBJECTIVES[arm.objective](
                **vars(settings.loss), stratified=settings.training.positives > 0
            ),
            training=settings.training,
            weights=functools.partial(self._weights, settings.loss.weights),
            group=group,
            mesh=mesh,
            shard=self._settings.mesh.shard,
            pace=self._pace,
            say=self._say,
            track=self._track,
        )

    def _weights(self, kind: str, fitted: np.ndarray) -> np.ndarray | None:
        """float32[n] of all samples, those that are not fitted to 0."""
        if kind == "none":
            return None
        films = read_acquisitions(self._records.directory)
        devices = [films[self._samples.members[int(i)][0]].device for i in fitted]
        weights = np.zeros(len(self._samples.labels), np.float32)
        weights[fitted] = device_weights(self._samples.labels[fitted], devices)
        return weights

    def _stage_one(self, arm: Arm, parts: Split):
        key = self._representations(arm.settings).key

        def learn(folder: Path, seed: int) -> Scored:
            name = f"{arm.name} fold {parts.fold}"
            found = self._map_learner(arm, parts, self._mesh_of(arm, parts)).learn(
                parts, folder, seed=seed, name=name
            )
            arrays = arrays_of(found.model, "classifier/")
            mean, deviation, sets = self._units(self._representations(arm.settings), parts)
            if sets is not None:
                arrays |= {UNITS[0]: mean, UNITS[1]: deviation}
            return Scored(found.scores, found.out_of_fold, arrays, {"epoch": found.epoch}, found.inner_auc)

        return learn, {"representations": key}

    def _stage_two(self, arm: Arm, parts: Split):
        from mammojax.representations.scan import record_plans

        settings = arm.settings
        network = self._network(settings)

        def learn(folder: Path, seed: int) -> Scored:
            learner = MergedLearner(
                self._records,
                self._samples.labels,
                self._map_learner(base_arm(arm), parts, self._mesh_of(arm, parts)),
                network=network,
                plans=record_plans(self._records, network, **inputs.reading(settings)),
                objective=OBJECTIVES[arm.objective](**vars(settings.loss)),
                training=settings.training,
                finetune=settings.finetune,
                augmentation=inputs.augmentation(settings),
                intensity=settings.model.intensity,
                precision=settings.model.precision,
                workers=settings.scan.workers,
                mesh=self._mesh_of(arm, parts),
                shard=self._settings.mesh.shard,
                pace=self._pace,
                say=self._say,
                track=self._track,
            )
            found = learner.learn(parts, folder, seed=seed, name=f"{arm.name} fold {parts.fold}")
            return Scored(
                found.scores,
                found.out_of_fold,
                arrays_of(found.model),
                {"epoch": found.epoch},
                found.inner_auc,
            )

        return learn, {"representations": self._representations(settings).key}


def _is_contrasted(settings: Settings) -> bool:
    return settings.model.contrast in ("channels", "both")


def _two_pass(arm: Arm) -> bool:
    return "pairs" in OBJECTIVES[arm.objective].takes and arm.settings.loss.pairs == "two_pass"
