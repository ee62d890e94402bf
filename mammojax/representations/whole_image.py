"""Whole-image features for baseline 1: the crop resized to 224 x 224, through the same pretrained network."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mammojax.datasets import pipeline
from mammojax.datasets.record import RecordSet
from mammojax.runs import stages
from mammojax.runs.files import writing

SIDE = 224  # pixels, the input size of the ImageNet networks (the paper, section 4)
FORM = 2
_FEATURES = "features.npy"


def resize(image: np.ndarray, bits: int) -> np.ndarray:
    """float32[224, 224, 1] in [0, 1]: the crop resized without aliasing, aspect ratio not kept (as in the paper).

    image: uint16[h, w] with values in [0, 2**bits - 1].
    """
    from PIL import Image

    small = Image.fromarray(image.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(small, np.float32)[..., None] / (2**bits - 1), 0, 1)


def _prepare(element: dict) -> dict:
    return {"input": resize(element["image"], element["bits"])}


def feature_function(network) -> Callable[[np.ndarray], np.ndarray]:
    """features(float32[b, 224, 224, 1]) -> float32[b, f] of one network, compiled once."""
    import jax
    from flax import nnx

    from mammojax.models.scanning import whole_image_features

    graph, state = nnx.split(network)
    compiled = jax.jit(lambda state, inputs: whole_image_features(nnx.merge(graph, state), inputs))
    return lambda inputs: np.asarray(compiled(state, inputs))


def whole_image_features(
    records: RecordSet,
    network,
    directory: Path,
    *,
    batch: int = 8,
    workers: int = 0,
    track: Callable = lambda it, **_: it,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[np.ndarray, str]:
    """(float32[n, f], key): features of all records, made or reused; arguments as of `scan_records`."""
    stage_key = stages.key(
        records=records.directory.name, network=network.identity, kind="whole image", side=SIDE, form=FORM
    )

    def make(folder: Path) -> dict:
        features = feature_function(network)
        elements = pipeline.crops(
            records, range(len(records)), augmentation=None, seed=0, transform=_prepare, workers=workers
        )
        out, waiting = [], []
        for element in track(elements, total=len(records), description="resized images"):
            waiting.append(element["input"])
            if len(waiting) == batch or len(out) * batch + len(waiting) == len(records):
                filled = np.stack(waiting + [waiting[-1]] * (batch - len(waiting)))
                out.append(features(filled)[: len(waiting)])
                waiting = []
        with writing(folder / _FEATURES) as file:
            np.save(file, np.concatenate(out))
        return {"records": records.directory.name, "network": network.identity}

    what = f"the whole-image features {stage_key}"
    folder = stages.made(Path(directory), stage_key, make, what=what, say=say)
    return np.load(stages.verified(folder, _FEATURES)), stage_key
