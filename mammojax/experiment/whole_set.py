"""A prepared set read by trained networks, batch by batch: a logit a sample, or a score a cell.

What the networks read (maps, whole-image features) is kept by content in the representation cache, which crossval shares:
a killed reading goes on where it was, and what was read once serves every arm.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mammojax.datasets.record import RecordSet
from mammojax.experiment.model import Model, compiled_cells
from mammojax.models.classifiers import classifier_module
from mammojax.representations.bags import Bags
from mammojax.representations.cache import Representations
from mammojax.representations.scan import scan_records
from mammojax.representations.statistics import ChannelSums
from mammojax.runs.files import writing
from mammojax.training.batches import evaluation_batches
from mammojax.training.scoring import model_scorer

BATCH = 16  # samples, or films, at a time


def scanned(
    model: Model, records: RecordSet, folder: Path, *, say: Callable, track: Callable
) -> Representations:
    """The maps of all records as the model's networks read them, made or reused in `folder`."""
    import jax

    facts = model.facts
    return scan_records(
        records,
        model.network,
        folder,
        **facts["reading"],
        intensity=facts["intensity"],
        precision=facts["precision"],
        cache=facts["cache"],
        batch=1 if jax.default_backend() == "cpu" else BATCH,
        say=say,
        track=track,
    )


def sample_logits(
    model: Model,
    records: RecordSet,
    members: Sequence[Sequence[int]],
    partner: np.ndarray,
    *,
    cache: Path,
    scratch: Path,
    own: bool = False,
    say: Callable,
    track: Callable,
) -> tuple[np.ndarray, dict[str, str]]:
    """(float64[networks, samples], keys of what was read, by kind): the logits of every network, uncalibrated and not yet
    read with the exam.

    members: record numbers of each sample. partner: int[records], see `datasets.samples`. cache: folder of representations.
    scratch: a folder for what fine-tuned networks have scored so far. own: channels, or features, are standardised over
    this very set, without its labels, and not as in training; sets so the networks of `model`.
    """
    if model.stage == "merged":
        return _merged_logits(model, records, scratch, track), {}
    if model.stage == "svm":
        from mammojax.representations.whole_image import whole_image_features

        features, key = whole_image_features(records, model.network, cache, say=say, track=track)
        if own:
            deviation = features.std(0)
            model.standardise(features.mean(0), np.where(deviation > 0, deviation, np.inf))
        logits = [net.scores(features) for networks in model.networks for net in networks]
        return np.asarray(logits), {"features": key}
    made = scanned(model, records, cache, say=say, track=track)
    if own:
        model.standardise(*ChannelSums(made).of(range(len(records))))
    spatial = classifier_module(model.facts["classifier"]).SPATIAL
    found = []
    for networks, bags in _bags(model, made, members, partner, spatial=spatial):
        scorers = [model_scorer(net) for net in networks]
        batches = evaluation_batches(bags, range(len(members)), np.zeros(len(members), np.int32), batch=BATCH)
        parts = [[score(batch)[batch.where] for score in scorers] for batch in batches]
        found.append(np.concatenate(parts, axis=1))
    return np.concatenate(found).astype(np.float64), {"representations": made.key}


def cell_scores(
    model: Model, made: Representations, numbers: Sequence[int], partner: np.ndarray
) -> Iterator[np.ndarray]:
    """For each of the records `numbers` float64[rows, columns] as of `Model.of_cells`, NaN off the breast.

    made: of `scanned`, or the same maps made by crossval. UserError for a classifier that scores no cells.
    """
    from flax import nnx

    model.check_cell_scores()
    held = []
    for networks, bags in _bags(model, made, [[int(i)] for i in numbers], partner, spatial=True):
        held.append((bags, [nnx.split(net) for net in networks]))
    for start in range(0, len(numbers), BATCH):
        chosen = [min(start + k, len(numbers) - 1) for k in range(BATCH)]  # one program: the tail is padded
        logits = []
        for bags, networks in held:
            values, tissue = (np.stack(parts) for parts in zip(*(bags.read(k) for k in chosen)))
            logits += [np.asarray(compiled_cells(graph)(state, values, tissue)) for graph, state in networks]
        for k, i in enumerate(numbers[start : start + BATCH]):
            rows, columns = made.shapes[int(i)]
            own = np.asarray([batch[k, :rows, :columns] for batch in logits])
            yield model.of_cells(own, made.tissue(int(i)))


def _bags(model: Model, made: Representations, members, partner: np.ndarray, *, spatial: bool) -> Iterator:
    """(networks, what they are given): all networks at once, or those of each fold where the difference to the other
    breast is in units of the fold's own."""
    every = [net for networks in model.networks for net in networks]
    for networks in model.networks if model.takes_differences else [every]:
        mean, deviation = (
            np.asarray(v[...])[: made.channels] for v in (networks[0].mean, networks[0].deviation)
        )
        yield networks, Bags(made, members, spatial=spatial, mean=mean, deviation=deviation,
                             partner=partner if model.takes_differences else None)  # fmt: skip


def _merged_logits(model: Model, records: RecordSet, scratch: Path, track: Callable) -> np.ndarray:
    """A file a record in `scratch`: these networks read pixels, and a killed reading goes on."""
    logits = []
    for i in track(range(len(records)), total=len(records), description="scoring"):
        path = scratch / f"{i}.npy"
        if not path.is_file():
            values = model.evidence(records.image(i), records.records[i].bits, records.tissue(i)).values
            with writing(path) as file:
                np.save(file, values)
        logits.append(np.load(path))
    return np.asarray(logits, np.float64).T
