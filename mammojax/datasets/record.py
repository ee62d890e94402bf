"""One record: a crop at full bit depth with everything that is known of it, and the reader of prepared data sets."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mammojax.errors import UserError
from mammojax.runs.files import read_json

INDEX_FILE = "index.json"


@dataclass(frozen=True)
class Source:
    """One image file as a data set lists it, before it is read.

    file: path relative to the data set's root, as printed in accounts. path: where it lies. patient: the data set's
    own identifier ("" if only the header knows; stored hashed). breast: identifier of the breast within the patient
    ("" to take the laterality). lesions: dicts with row, column, radius (original pixels) and kind; for localisation
    only. missing: a reason known without reading (the file is then rejected).
    """

    file: str
    path: Path
    patient: str
    facts: object
    breast: str = ""
    laterality: str = ""
    view: str = ""
    spacing: tuple[float, float] | None = None
    lesions: tuple[dict, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Record:
    """What the pipelines see of a record beside its pixels. Lesions are not here: training cannot see them.

    record: unique name. patient, breast: salted hashes. breast_stated: the data set itself tells the two breasts of a
    patient apart, though it may not say which is the left one. label: 1 or 0. bits: values lie in [0, 2**bits - 1].
    height, width: of the crop. spacing: mm a pixel (rows, columns) or None. source, sha256: the original file.
    geometry: the affine map to the original pixels (`Geometry.from_json`). box: top, left, height, width in the
    original. rules: the decoding rules that were applied. warnings: what a reader should know.
    """

    record: str
    patient: str
    breast: str
    breast_stated: bool
    label: int
    laterality: str
    view: str
    bits: int
    height: int
    width: int
    spacing: tuple[float, float] | None
    source: str
    sha256: str
    geometry: str
    box: tuple[int, int, int, int]
    rules: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict:
        """A dict of JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict) -> "Record":
        """The inverse of `to_json`."""
        spacing = tuple(value["spacing"]) if value["spacing"] else None
        lists = {name: tuple(value[name]) for name in ("box", "rules", "warnings")}
        return cls(**{**value, **lists, "spacing": spacing})


def features():
    """The TFDS features of a record; pixels as BYTES, since array_record compresses by itself and TFDS' own 16-bit
    PNG needs TensorFlow."""
    import tensorflow_datasets as tfds

    texts = (
        "record",
        "patient",
        "breast",
        "laterality",
        "view",
        "source",
        "sha256",
        "geometry",
        "rules",
        "warnings",
        "lesions",
    )
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Tensor(
                shape=(None, None, 1), dtype=np.uint16, encoding=tfds.features.Encoding.BYTES
            ),
            "tissue": tfds.features.Tensor(
                shape=(None, None, 1), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES
            ),
            "label": tfds.features.Scalar(dtype=np.int32),
            "bits": tfds.features.Scalar(dtype=np.int32),
            "box": tfds.features.Tensor(shape=(4,), dtype=np.int32),
            "spacing": tfds.features.Tensor(shape=(2,), dtype=np.float32),
            **{name: tfds.features.Text() for name in texts},
        }
    )


TISSUE_BLOCK = 8  # pixels a side


def tissue_share(mask: np.ndarray) -> np.ndarray:
    """uint8[ceil(h / 8), ceil(w / 8)]: the share of breast in each block of 8 x 8 pixels, times 255.

    mask: bool[h, w]. Blocks that the lower and right edges cut count their own pixels only.
    """
    rows, columns = (np.arange(0, length, TISSUE_BLOCK) for length in mask.shape)
    sums = np.add.reduceat(np.add.reduceat(mask.astype(np.uint32), rows, axis=0), columns, axis=1)
    heights, widths = (np.diff([*starts, length]) for starts, length in zip((rows, columns), mask.shape))
    return np.rint(sums * 255 / np.outer(heights, widths)).astype(np.uint8)


def to_example(record: Record, image: np.ndarray, tissue: np.ndarray, lesions: Sequence[dict]) -> dict:
    """The TFDS example of a record. image: uint16[h, w]. tissue: see `tissue_share`. Unknown spacing is stored as nan."""
    facts = record.to_json()
    for name in ("height", "width", "breast_stated"):
        facts.pop(name)
    return {
        **facts,
        "image": image[..., None],
        "tissue": tissue[..., None],
        "spacing": np.asarray(record.spacing or (math.nan, math.nan), np.float32),
        "box": np.asarray(record.box, np.int32),
        "rules": json.dumps(record.rules),
        "warnings": json.dumps(record.warnings),
        "lesions": json.dumps(list(lesions)),
    }


class RecordSet:
    """A prepared data set on disk: `records[i]` describes what `image(i)` returns.

    directory: as written by `prepare`. Pixels are read on demand, in any order, by any number of threads.
    """

    def __init__(self, directory: Path):
        self.directory = Path(directory)
        index = read_json(self.directory / INDEX_FILE)
        self.name: str = index["name"]
        self.scheme: str = index["scheme"]
        self.records: tuple[Record, ...] = tuple(Record.from_json(r) for r in index["records"])
        self._files = self.directory / index["files"]
        self._source = None

    def __len__(self) -> int:
        return len(self.records)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_source": None}  # readers are opened anew in a worker process

    def _example(self, i: int) -> dict:
        if self._source is None:
            import tensorflow_datasets as tfds

            builder = tfds.builder_from_directory(self._files)
            self._source = builder.as_data_source("images")
            if len(self._source) != len(self.records):
                raise UserError(
                    f"{self._files} holds {len(self._source)} records, its index {len(self.records)}; "
                    f"remove {self.directory} and prepare again"
                )
        return self._source[i]

    def image(self, i: int) -> np.ndarray:
        """uint16[h, w]: the crop, chest wall left, values in [0, 2**bits - 1]."""
        return self._example(i)["image"][..., 0]

    def tissue(self, i: int) -> np.ndarray:
        """uint8[ceil(h / 8), ceil(w / 8)]: the share of breast in each block of 8 x 8 pixels of the crop, times 255."""
        return self._example(i)["tissue"][..., 0]

    def lesions(self, i: int) -> list[dict]:
        """Annotated lesions (row, column, radius in original pixels, kind): for localisation and tests only."""
        return json.loads(self._example(i)["lesions"])

    def __getitem__(self, i: int) -> dict:
        """image (uint16[h, w]), bits, label and index of record i: a random-access source for Grain."""
        record = self.records[i]
        return {"image": self.image(i), "bits": record.bits, "label": record.label, "index": i}

    @property
    def labels(self) -> np.ndarray:
        """int32[n] in {0, 1}."""
        return np.asarray([r.label for r in self.records], np.int32)

    @property
    def patients(self) -> np.ndarray:
        """int64[n]: patients numbered in the order of their first source file, so that folds do not depend on the
        salt of the hashes."""
        order: dict[str, int] = {}
        for record in sorted(self.records, key=lambda r: r.source):
            order.setdefault(record.patient, len(order))
        return np.asarray([order[r.patient] for r in self.records], np.int64)
