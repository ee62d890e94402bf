"""How a record lies in the array_record files: the TFDS features and the example made of a record and its pixels."""

import json
import math
from collections.abc import Sequence

import numpy as np

from mammojax.datasets.record import Record

TISSUE_BLOCK = 8  # pixels a side
_NOT_PACKED = ("height", "width", "breast_stated")  # told by the image, or of use to the index alone


def features():
    """The TFDS features of a record; pixels as BYTES, since array_record compresses by itself and TFDS' own 16-bit
    PNG needs TensorFlow."""
    import tensorflow_datasets as tfds

    def pixels(dtype):
        return tfds.features.Tensor(shape=(None, None, 1), dtype=dtype, encoding=tfds.features.Encoding.BYTES)

    texts = (
        "record",
        "patient",
        "breast",
        "laterality",
        "view",
        "sha256",
        "geometry",
        "rules",
        "warnings",
        "lesions",
    )
    return tfds.features.FeaturesDict(
        {
            "image": pixels(np.uint16),
            "tissue": pixels(np.uint8),
            "number": tfds.features.Scalar(dtype=np.int32),
            "label": tfds.features.Scalar(dtype=np.int32),
            "bits": tfds.features.Scalar(dtype=np.int32),
            "box": tfds.features.Tensor(shape=(4,), dtype=np.int32),
            "spacing": tfds.features.Tensor(shape=(2,), dtype=np.float32),
            **{name: tfds.features.Text() for name in texts},
        }
    )


def tissue_share(mask: np.ndarray) -> np.ndarray:
    """uint8[ceil(h / 8), ceil(w / 8)]: the share of breast in each block of 8 x 8 pixels, times 255.

    mask: bool[h, w]. Blocks that the lower and right edges cut count their own pixels only.
    """
    rows, columns = (np.arange(0, length, TISSUE_BLOCK) for length in mask.shape)
    sums = np.zeros((len(rows), mask.shape[1]), np.uint8)
    for offset in range(TISSUE_BLOCK):  # whole rows are added up at once; a block's sum is 64 at most
        part = mask[offset::TISSUE_BLOCK]
        sums[: len(part)] += part
    sums = np.add.reduceat(sums, columns, axis=1).astype(np.uint32)
    heights, widths = (np.diff([*starts, length]) for starts, length in zip((rows, columns), mask.shape))
    return np.rint(sums * 255 / np.outer(heights, widths)).astype(np.uint8)


def to_example(record: Record, image: np.ndarray, tissue: np.ndarray, lesions: Sequence[dict]) -> dict:
    """The TFDS example of a record. image: uint16[h, w]. tissue: see `tissue_share`. Unknown spacing is stored as nan."""
    return {
        **{name: value for name, value in record.to_json().items() if name not in _NOT_PACKED},
        "image": image[..., None],
        "tissue": tissue[..., None],
        "spacing": np.asarray(record.spacing or (math.nan, math.nan), np.float32),
        "box": np.asarray(record.box, np.int32),
        "rules": json.dumps(record.rules),
        "warnings": json.dumps(record.warnings),
        "lesions": json.dumps(list(lesions)),
    }
