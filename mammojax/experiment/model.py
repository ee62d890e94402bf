"""The trained networks of one arm, from their model files alone: what turns a crop, with its exam, into a score.

A model file carries all that it takes: how crops are read, the classifier, the read-out, the calibration, and the identity
of the scanning network's weights. Networks of different folds share no scale: their calibrated log-odds are averaged,
never their logits, and the probability is that of the mean. It refers to the share of positives in the training data.
"""

import copy
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammojax import settings as tree
from mammojax.errors import UserError
from mammojax.evaluation.calibration import Platt
from mammojax.experiment.fit import MODEL_FILE, made_by
from mammojax.experiment.readout import Readout
from mammojax.experiment.svm import LinearScorer
from mammojax.representations.cache import rounded
from mammojax.representations.contrast import difference
from mammojax.representations.intensity import stretched
from mammojax.representations.programs import compiled_scan
from mammojax.representations.scan import crop_plan, plan_cells
from mammojax.representations.tissue import tissue_cells
from mammojax.runs import stages
from mammojax.training.saved import fill, read_arrays

UNITS = ("units/mean", "units/deviation")  # float32[sets, c] of a model of several sets
OWN = object()  # in place of a name: units that are none of the sets', set by `standardise`


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is kept of one crop: by the kind of the model the map float32[rows, columns, c] with its tissue
    bool[rows, columns], whole-image features float32[f], or the logits float32[networks] of merged networks."""

    values: np.ndarray
    tissue: np.ndarray


class Model:
    """The networks of one arm: one or more of every cell.

    facts: what the files say. networks: by file, in evaluation mode. network: the scanning network; it may be given where it
    is loaded already. like: of a model that was trained on several sets, the one whose films these are like, in whose units
    their channels come; `OWN` where `standardise` is to say. Raises UserError where the files are of different recipes, or
    the scanning network's weights are others than those that the model was trained with.
    """

    def __init__(self, folders: Sequence[Path], *, weights: str = "", network=None, like: str | object = ""):
        from mammojax.models.scanning import load_backbone

        read = [read_arrays(stages.verified(Path(folder), MODEL_FILE)) for folder in folders]
        self._cells = [facts for _, facts in read]
        first = made_by(folders[0])
        for folder in folders[1:]:
            other = made_by(folder)
            differing = [name for name in sorted({*first, *other}) if first.get(name) != other.get(name)]
            if differing:
                raise UserError(
                    f"{folder} is of another model: it differs in {', '.join(differing)}; choose one run"
                )
        # all files agree but for what has no effect: where the weights lay, settings that such a model does not read
        self.facts = facts = self._cells[0]
        self.network = network or load_backbone(
            facts["backbone"],
            tap=facts["tap"],
            weights=weights or facts["weights"] or None,
            seed=facts["seed"],
        )
        if self.network.identity != facts["network"]:
            raise UserError(
                f"the weights of {facts['backbone']} are not those that the model was trained with "
                f"(identity {self.network.identity}, expected {facts['network']}); give their file with --weights"
            )
        self._arrays = [
            self._by_network(arrays, len(f["calibrations"])) for (arrays, _), f in zip(read, self._cells)
        ]
        self.stage = facts["stage"]
        self.networks = [[self._built(a) for a in cell] for cell in self._arrays]
        self._like = self._in_units_of(like)

    @staticmethod
    def _by_network(arrays: Mapping[str, np.ndarray], networks: int) -> list[dict[str, np.ndarray]]:
        prefixes = [f"network_{k}/" for k in range(networks)]
        return [{n.removeprefix(p): v for n, v in arrays.items() if n.startswith(p)} for p in prefixes]

    def __len__(self) -> int:
        return sum(map(len, self.networks))

    @property
    def key(self) -> str:
        """Changes with anything that a score depends on."""
        digest = hashlib.sha256()
        for cell in self._arrays:
            for arrays in cell:
                for name in sorted(arrays):
                    digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
        cells = [{name: value for name, value in facts.items() if name != "weights"} for facts in self._cells]
        like = {"like": self._like} if self._like else {}
        return stages.key(facts=cells, arrays=digest.hexdigest(), **like)

    def _in_units_of(self, like: str | object) -> str:
        sets = self.facts["sets"]
        if like is OWN:
            return ""
        if like and like not in sets:
            raise UserError(f"the model was trained on {', '.join(sets)}; --like={like} is none of them")
        if len(sets) == 1:
            return ""
        if not like:
            raise UserError(
                f"the model was trained on several sets, {', '.join(sets)}, each in units of its own; say whose films "
                f"these are like: --like={sets[0]}"
            )
        for arrays, networks in zip(self._arrays, self.networks):
            for held, net in zip(arrays, networks):
                self._set_units(net, *(held[name][sets.index(like)] for name in UNITS))
        return like

    @staticmethod
    def _set_units(net, mean: np.ndarray, deviation: np.ndarray) -> None:
        differences = net.mean[...].shape[0] - len(mean)  # of the other breast: in these units already
        net.set_normalisation(
            np.pad(mean, (0, differences)), np.pad(deviation, (0, differences), constant_values=1)
        )

    @property
    def readouts(self) -> list[Readout]:
        """Of all networks."""
        return [Readout(**readout) for facts in self._cells for readout in facts["readouts"]]

    @property
    def takes_differences(self) -> bool:
        """Whether a map has its difference to the other breast's as channels."""
        return self.stage == "maps" and self.facts["contrast"] in ("channels", "both")

    @property
    def reads_exams(self) -> bool:
        """Whether a score depends on the other films of an exam."""
        return self.takes_differences or any(readout.share or readout.views for readout in self.readouts)

    def standardise(self, mean: np.ndarray, deviation: np.ndarray) -> None:
        """Sets the units of all networks' input channels, or features, in place of those of their training folds.

        mean, deviation: float[c]. To be called before anything is scored. UserError for fine-tuned networks, whose channels
        are their own.
        """
        if self.stage == "merged":
            raise UserError(
                "fine-tuned networks have channels of their own, which are not standardised anew; leave their arm out"
            )
        for networks in self.networks:
            for k, net in enumerate(networks):
                if self.stage == "svm":
                    networks[k] = LinearScorer(mean, deviation, net.weights, net.intercept)
                    continue
                self._set_units(net, mean, deviation)

    def _built(self, arrays: dict[str, np.ndarray]):
        from flax import nnx

        from mammojax.models.classifiers import classifier_module

        if self.stage == "svm":
            return LinearScorer(**arrays)
        facts = self.facts
        kinds = {"paper": tree.Paper, "mil": tree.Mil, "pooled": tree.Pooled}
        kind = kinds.get(facts["classifier"])
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in facts["options"].items()}
        options = kind(**given) if kind else None
        channels = self.network.channels * (2 if self.takes_differences else 1)
        module = classifier_module(facts["classifier"])
        side = facts["reading"]["np_"] if facts["reading"]["map"] == "grid" else None
        model = module.build((side, side, channels), options, rngs=nnx.Rngs(0))
        if self.stage == "merged":
            from mammojax.models.merged import MammogramNet

            model = MammogramNet(copy.deepcopy(self.network), model, dtype=facts["precision"])
            fill(model, arrays)
        else:
            fill(model, arrays, "classifier/")
        model.eval()
        return model

    # -- one crop -------------------------------------------------------------------------------------------------

    def plan(self, shape: tuple[int, int]):
        """How a crop of this shape is read."""
        return crop_plan(shape, self.network, **self.facts["reading"])

    def evidence(self, image: np.ndarray, bits: int, tissue: np.ndarray) -> Evidence:
        """What the networks need of a crop uint16[h, w]; tissue: uint8[h/8, w/8] as a record keeps it."""
        from mammojax.models.scanning import prepare_image

        if self.stage == "svm":
            from mammojax.representations.whole_image import feature_function, resize

            features = _once(self, "features", lambda: feature_function(self.network))
            return Evidence(features(resize(image, bits)[None])[0], np.ones((1, 1), bool))
        plan = self.plan(image.shape)
        pixels = prepare_image(stretched(image, bits, self.facts["intensity"]), bits, plan)[None]
        cells = tissue_cells(tissue, plan)
        if self.stage == "merged":
            logits = [self._merged(net, pixels, plan, cells) for cell in self.networks for net in cell]
            return Evidence(np.asarray(logits, np.float32), cells)
        rows, columns = plan_cells(plan)
        values = self._scan(pixels, plan)[0, :rows, :columns]
        kept = rounded(values, self.facts["cache"]).astype(
            np.float32
        )  # what the cache of the run would give back
        return Evidence(kept, cells)

    def _scan(self, pixels, plan) -> np.ndarray:
        graph, state = _once(self, "split", lambda: _split(self.network))
        return np.asarray(compiled_scan()(graph, state, pixels, plan, self.facts["precision"]))

    def _merged(self, net, pixels, plan, cells) -> float:
        from mammojax.training.batches import on_whole_map
        from mammojax.training.scoring import model_scorer
        from mammojax.training.step import Batch

        score = _once(self, id(net), lambda: model_scorer(net))
        one = np.zeros(1, np.int32)
        tissue = on_whole_map(cells, getattr(plan, "map_shape", None))[None]
        batch = Batch(pixels, one, one, np.ones(1, bool), tissue, plan)
        return float(score(batch)[0])

    # -- crops of one exam ----------------------------------------------------------------------------------------

    def log_odds(
        self,
        evidence: Sequence[Evidence],
        samples: Sequence[Sequence[int]],
        partner: np.ndarray,
        near: tuple[np.ndarray, np.ndarray],
    ) -> np.ndarray:
        """float64[samples]: the mean calibrated log-odds. samples: the crops of each, positions in evidence. partner:
        int[crops], the same view of the other breast, -1 for none. near: int[samples] each, the sample's partner and its
        other view, -1 for none."""
        if self.stage == "merged":
            logits = np.asarray([e.values for e in evidence], float).T
        else:
            nets = [net for networks in self.networks for net in networks]
            logits = np.asarray([[self._logit(net, evidence, k, partner) for k in samples] for net in nets])
        return self.combined(logits, near)

    def combined(self, logits: np.ndarray, near: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """float64[n]: the mean calibrated log-odds. logits: float[networks, n], networks in the order of the files; near as
        of `log_odds`, positions in the logits."""
        found, rest = [], iter(logits)
        for facts, networks in zip(self._cells, self.networks):
            cell = []
            for readout, calibration in zip(facts["readouts"], facts["calibrations"]):
                read = Readout(**readout)(next(rest), *near)
                cell.append(read if len(networks) == 1 else Platt.from_json(calibration).log_odds(read))
            found.append(Platt.from_json(facts["calibration"]).log_odds(np.mean(cell, axis=0)))
        return np.mean(found, axis=0)

    def _channels(self, net, evidence: Sequence[Evidence], i: int, partner: np.ndarray) -> np.ndarray:
        own = evidence[i].values
        if not self.takes_differences:
            return own
        c = self.network.channels
        mean, deviation = (np.asarray(v[...])[:c] for v in (net.mean, net.deviation))
        other = evidence[int(partner[i])].values if partner[i] >= 0 else None
        return np.concatenate([own, difference(own, other, mean, deviation)], -1)

    def _logit(self, net, evidence: Sequence[Evidence], chosen: Sequence[int], partner: np.ndarray) -> float:
        if self.stage == "svm":
            return float(net.scores(evidence[chosen[0]].values[None])[0])
        from mammojax.training.scoring import model_scorer
        from mammojax.training.step import Batch

        score = _once(self, id(net), lambda: model_scorer(net))
        values = [self._channels(net, evidence, i, partner) for i in chosen]
        tissue = [evidence[i].tissue for i in chosen]
        if len(chosen) > 1:  # a bag: the tissue cells of all its crops
            values = [np.concatenate([v[cells] for v, cells in zip(values, tissue)])[None]]
            tissue = [np.ones(values[0].shape[:2], bool)]
        one = np.zeros(1, np.int32)
        return float(score(Batch(values[0][None], one, one, np.ones(1, bool), tissue[0][None]))[0])

    @property
    def scores_cells(self) -> bool:
        """Whether the networks score cells, and not maps as a whole."""
        return self.stage == "maps" and self.facts["classifier"] == "mil"

    def check_cell_scores(self) -> None:
        """UserError unless the networks score cells."""
        if not self.scores_cells:
            what = {"svm": "an SVM of whole images", "merged": "fine-tuned from pixels"}.get(
                self.stage, f"of the classifier {self.facts['classifier']}"
            )
            raise UserError(
                f"the arm is {what} and gives no score a cell; maps need an arm of the classifier mil, such as cells_bce"
            )

    def cell_scores(self, evidence: Sequence[Evidence], i: int, partner: np.ndarray) -> np.ndarray:
        """float64[rows, columns]: what each cell of crop i contributes, NaN off the breast; see `of_cells`. UserError for a
        classifier that has no such thing."""
        self.check_cell_scores()
        tissue, logits = evidence[i].tissue, []
        for net in (net for networks in self.networks for net in networks):
            graph, state = _once(self, (id(net), "split"), lambda net=net: _split(net))
            values = self._channels(net, evidence, i, partner)
            logits.append(np.asarray(compiled_cells(graph)(state, values[None], tissue[None]))[0])
        return self.of_cells(np.asarray(logits), tissue)

    def cell_centres(self, shape: tuple[int, int]) -> np.ndarray:
        """float64[rows, columns, 2]: (row, column) of the cells of a crop of this shape, in its pixels."""
        plan = self.plan(shape)
        if hasattr(plan, "cell_centres"):
            return plan.cell_centres()
        windows = np.asarray(plan.cell_windows(), float)  # of a grid: where they begin and end
        return (windows[..., :2] + windows[..., 2:] - 1) / 2

    def of_cells(self, logits: np.ndarray, tissue: np.ndarray) -> np.ndarray:
        """float64[rows, columns]: the mean calibrated log-odds of a crop whose suspicious cells were all like this one and
        whose other breast was typical, NaN off the breast. logits: float[networks, rows, columns]."""
        scores = np.full(tissue.shape, np.nan)
        none = np.full(int(tissue.sum()), -1)
        scores[tissue] = self.combined(np.asarray(logits)[:, tissue], (none, none))
        return scores


@functools.lru_cache(maxsize=16)
def compiled_cells(graph) -> Callable:
    """cells(state, maps, tissue) -> float32[b, rows, columns], `cell_scores` of a classifier; compiled once a form."""
    import jax
    from flax import nnx

    return jax.jit(lambda state, maps, tissue: nnx.merge(graph, state, copy=True).cell_scores(maps, tissue))


def _split(network):
    from flax import nnx

    return nnx.split(network)


def _once(model: Model, name, make):
    held = model.__dict__.setdefault("_held", {})
    if name not in held:
        held[name] = make()
    return held[name]
