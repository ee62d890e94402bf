"""Scores of new files by a trained run: the mean of its folds' networks, with a calibrated probability.

Every fold's network was calibrated on patients it was not fitted to; the probability is the mean of the folds'
calibrated probabilities, and refers to the share of positives in the training data.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammojax.errors import UserError
from mammojax.evaluation.calibration import Platt
from mammojax.experiment import fit as cells
from mammojax.experiment.split import cell_folder
from mammojax.experiment.svm import LinearScorer
from mammojax.images.reading.any_file import is_image_file
from mammojax.images.reading.isolated import read_crops
from mammojax.runs import stages
from mammojax.runs.files import read_json

COLUMNS = (
    "file",
    "score",
    "probability",
    "box_top",
    "box_left",
    "box_height",
    "box_width",
    "laterality",
    "view",
    "warnings",
    "reason",
)


@dataclass(frozen=True)
class Model:
    """What turns a crop into a score in each fold. scorers[k](image uint16[h, w], bits) -> logit; calibrations[k]."""

    scores: Callable[[np.ndarray, int], np.ndarray]
    calibrations: Sequence[Platt]
    margin: float
    for_processing: str


def files_of(arguments: Iterable[str]) -> list[tuple[str, Path]]:
    """(name to print, path) of all files named, and of all pictures in the folders named, in a stable order."""
    found = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*")) if p.is_file() and is_image_file(p)]
            if not inside:
                raise UserError(
                    f"{path} holds no DICOM, PNG, TIFF or PGM files; name files or another folder"
                )
            found += [(p.relative_to(path).as_posix(), p) for p in inside]
        else:
            found.append((path.as_posix(), path))
    if not found:
        raise UserError("no files to score; name DICOM, PNG, TIFF or PGM files, or folders that hold them")
    return found


def predict(model: Model, files: Sequence[tuple[str, Path]]) -> Iterator[dict]:
    """One row (a dict with the keys of `COLUMNS`) a file; a file that cannot be scored gets its reason instead."""
    crops = read_crops([path for _, path in files], margin=model.margin, for_processing=model.for_processing)
    for (name, _), found in zip(files, crops):
        row = dict.fromkeys(COLUMNS, "") | {"file": name}
        if isinstance(found, str):
            yield row | {"reason": found}
            continue
        mammogram, crop = found
        logits = model.scores(crop.image, crop.bits)
        probabilities = [float(c.probability(s)) for c, s in zip(model.calibrations, logits)]
        box = {f"box_{side}": getattr(crop.box, side) for side in ("top", "left", "height", "width")}
        yield (
            row
            | box
            | {
                "score": repr(float(np.mean(logits))),
                "probability": repr(float(np.mean(probabilities))),
                "laterality": mammogram.laterality,
                "view": mammogram.view,
                "warnings": "; ".join((*mammogram.warnings, *crop.warnings)),
            }
        )


def load_model(directory: Path, arm: str) -> Model:
    """The networks of all folds of one arm of a finished run; UserError if a cell is not finished."""
    import jax
    from flax import nnx

    from mammojax.models.scanning import load_backbone, plan, prepare_image, scan
    from mammojax.representations.scan import rounded
    from mammojax.representations.whole_image import feature_function, resize

    cells.check_arm(arm)
    config = read_json(directory / "config.json")
    folders = [cell_folder(directory, arm, k) for k in range(config["crossval"]["folds"])]
    missing = [f.name for f in folders if stages.stored_key(f) is None]
    if missing:
        raise UserError(f"{directory} has no finished {arm} {', '.join(missing)}; run launch.crossval first")
    settings = config["model"]
    network = load_backbone(
        settings["backbone"],
        tap=settings["tap"] or None,
        weights=settings["weights"] or None,
        seed=config["seed"],
    )
    if arm == cells.BASELINE:
        scorers = [LinearScorer.load(f / cells.SVM_FILE) for f in folders]
        features = feature_function(network)

        def scores(image, bits):
            vector = features(resize(image, bits)[None])
            return np.asarray([float(s.scores(vector)[0]) for s in scorers])
    else:
        merged = arm.endswith(cells.FINETUNED)
        precision = settings["precision"]
        nets = [
            cells.load_merged(f, network, precision=precision) if merged else cells.load_classifier(f)
            for f in folders
        ]
        halves = [nnx.split(net) for net in nets]
        scan_graph, scan_state = nnx.split(network)
        compiled_scan = jax.jit(
            lambda state, x, p: scan(nnx.merge(scan_graph, state), x, p, dtype=np.dtype(precision)),
            static_argnums=2,
        )
        classify = jax.jit(lambda graph, state, *x: nnx.merge(graph, state)(*x), static_argnums=0)
        merged_score = jax.jit(
            lambda graph, state, x, p: nnx.merge(graph, state)(x, p), static_argnums=(0, 3)
        )

        def scores(image, bits):
            p = plan(
                image.shape,
                network.backbone,
                settings["np"],
                tap=network.tap,
                max_side=settings["max_side"] or None,
            )
            pixels = prepare_image(image, bits, p)[None]
            if merged:
                return np.asarray([float(merged_score(g, s, pixels, p)[0]) for g, s in halves])
            kept = rounded(np.asarray(compiled_scan(scan_state, pixels, p)), config["scan"]["cache"])
            values = kept.astype(np.float32)  # what the cache of the run would have given back
            return np.asarray([float(classify(g, s, values)[0]) for g, s in halves])

    calibrations = [Platt.from_json(read_json(f / "calibration.json")) for f in folders]
    return Model(scores, calibrations, config["data"]["margin"], config["data"]["for_processing"])
