"""One record: a crop at full bit depth with everything that is known of it, and the reader of prepared data sets."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mammojax.datasets.labels import Facts
from mammojax.runs import stages
from mammojax.runs.files import read_json

INDEX_FILE = "index.json"
SPLIT = "images"  # of the TFDS data set, which reserves the name "all"


@dataclass(frozen=True)
class Source:
    """One line of a data set's listing of its image files, before any is read.

    file: path relative to the data set's root, as printed in accounts. path: where it lies. patient: the data set's
    own identifier ("" if only the header knows; stored hashed). facts: what the data set says of it, None if its table
    does not list it. breast: identifier of the breast within the patient ("" to take the laterality). lesions: dicts
    with row, column, radius (original pixels) and kind; for localisation only. missing: a reason known without reading
    (the file is then rejected). warnings: what a reader should know. left_out: a rule of the data set by which the file
    is not used, such as that it is a copy of another. parts: of the data set's official split that it belongs to.
    device: what the table says of the machine, for accounts only. shape: rows and columns of the picture that spacing and
    lesions are of; of a file of another size they are not believed. None where nobody says.
    """

    file: str
    path: Path
    patient: str
    facts: Facts | None
    breast: str = ""
    laterality: str = ""
    view: str = ""
    spacing: tuple[float, float] | None = None
    lesions: tuple[dict, ...] = ()
    missing: str = ""
    warnings: tuple[str, ...] = ()
    left_out: str = ""
    parts: tuple[str, ...] = ()
    device: str = ""
    shape: tuple[int, int] | None = None


@dataclass(frozen=True)
class Record:
    """What the pipelines see of a record beside its pixels. Lesions are not here: training cannot see them.

    record: unique name, the file's path below the data set's root. number: of the file, from 1, by name among all that
    were found, as in accounts.csv; what people pass on shows it in place of the name. patient, breast: salted hashes.
    breast_stated: the data set itself tells the two breasts of a patient apart, though it may not say which is the left
    one. label: 1 or 0. bits: values lie in [0, 2**bits - 1]. height, width: of the crop. spacing: mm a pixel (rows,
    columns) or None. sha256: of the original file. geometry: the affine map to its pixels (`Geometry.from_json`).
    box: top, left, height, width in the original. rules: the decoding rules that were applied. warnings: what a reader
    should know.
    """

    record: str
    number: int
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


class RecordSet:
    """A prepared data set on disk: `records[i]` describes what `image(i)` returns, in the order of file names.

    directory: a finished stage, as made by `prepare`; its name is the key of all that determines the records. depth:
    bits that 16-bit rasters were read with, 0 if the set has none. set_names, sets: of the sets that were joined (see `joined`), and
    int[n], which of them a record is of; parts: themselves, none for a set of its own. Pixels are read on demand, in any order, by any
    number of threads. Raises Damaged (a UserError) where a file is not what was written.
    """

    def __init__(self, directory: Path):
        self.directory = Path(directory)
        index = read_json(stages.verified(self.directory, INDEX_FILE))
        self.name: str = index["name"]
        self.scheme: str = index["scheme"]
        self.depth: int = index["depth"]
        self.records: tuple[Record, ...] = tuple(Record.from_json(r) for r in index["records"])
        self._files: str = index["files"]
        parts = index.get("sets") or [[self.name, "", len(self.records)]]
        self.set_names: tuple[str, ...] = tuple(name for name, _, _ in parts)
        self.sets: np.ndarray = np.repeat(np.arange(len(parts)), [n for _, _, n in parts])
        self.parts = tuple(RecordSet(self.directory.parent / key) for _, key, _ in parts if key)
        self._source = None

    def __len__(self) -> int:
        return len(self.records)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_source": None}  # readers are opened anew in a worker process

    def _example(self, i: int) -> dict:
        if self.parts:
            first = int(np.searchsorted(self.sets, self.sets[i]))
            return self.parts[self.sets[i]]._example(i - first)
        folder = self.directory / self._files
        try:
            if self._source is None:
                import tensorflow_datasets as tfds

                self._source = tfds.builder_from_directory(folder).as_data_source(SPLIT)
            return self._source[i]
        except (RuntimeError, OSError):
            # array_record keeps checksums of its chunks and raises this; the stage's own tell which file it is
            for name in stages.files(self.directory):
                stages.verified(self.directory, name)
            raise

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
        """image (uint16[h, w]), tissue (see `tissue`), bits, label and index of record i: a random-access source for
        Grain."""
        record, example = self.records[i], self._example(i)
        image, tissue = example["image"][..., 0], example["tissue"][..., 0]
        return {"image": image, "tissue": tissue, "bits": record.bits, "label": record.label, "index": i}

    @property
    def labels(self) -> np.ndarray:
        """int32[n] in {0, 1}."""
        return np.asarray([r.label for r in self.records], np.int32)

    @property
    def patients(self) -> np.ndarray:
        """int64[n]: patients numbered in the order of their first file, so that nothing depends on the salt of the
        hashes."""
        order: dict[str, int] = {}
        for record in sorted(self.records, key=lambda r: r.record):
            order.setdefault(record.patient, len(order))
        return np.asarray([order[r.patient] for r in self.records], np.int64)
