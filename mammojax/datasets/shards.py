"""Finished crops to the array_record files of a TFDS data set, written side by side: a shard is whole or not there.

TFDS's own way of building writes one record after the other in one process and starts again from nothing after a kill.
So the files are written here, under the names and in the form that TFDS gives them, and TFDS adds its description to them.
"""

import functools
import os
import secrets
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from mammojax.datasets.outcome import Outcome, pixels_path
from mammojax.datasets.record import SPLIT
from mammojax.datasets.schema import features, to_example
from mammojax.datasets.workers import shared_results
from mammojax.errors import UserError
from mammojax.images.reading.isolated import CRASHED
from mammojax.runs.files import PARTIAL, filling

VERSION = "1.0.0"
_PARTS = 64  # shards of a set, as long as none is smaller or larger than
_LEAST, _MOST = 1 << 26, 1 << 30  # bytes of pixels before compression
_RECORDS = 4096  # in a shard, at most


def write_shards(
    name: str,
    outcomes: Sequence[Outcome],
    folder: Path,
    work: Path,
    *,
    workers: int,
    track: Callable,
    wait: bool = True,
) -> Path:
    """The folder below `folder`, the stage of the data set `name`, in which the records lie.

    outcomes: of the files that are used, at least one, whose pixels lie in `work`; records keep their order. workers, track:
    as in `prepare`. wait: until all shards are there; otherwise those are left that other processes have.
    Raises UserError where the disk is full or a process was ended.
    """
    target = folder / name / VERSION
    parts = cut([2 * o.record.height * o.record.width for o in outcomes])
    paths = [_path(target, name, k, len(parts)) for k in range(len(parts))]
    left = [k for k, path in enumerate(paths) if not path.is_file()]

    def written():
        done = shared_results(
            functools.partial(write_shard, work=work),
            [([outcomes[i] for i in part], path) for part, path in zip(parts, paths)],
            done=lambda k: paths[k].is_file(),
            stage=folder.with_name(f"{folder.name}.shards"),
            workers=min(workers, len(left)) if len(left) > 1 else 0,
            wait=wait,
            piece=1,
        )
        for k, told in done:
            if told == CRASHED:
                raise UserError(
                    f"the process that wrote {paths[k]} was ended, for want of memory perhaps; start again, with fewer workers"
                )
            yield from parts[k]

    with filling(folder):
        target.mkdir(parents=True, exist_ok=True)
        for _ in track(written(), total=sum(len(parts[k]) for k in left), description="packing"):
            pass
        if wait:  # a helper must not touch what may be finished by now
            _describe(target, name, [len(part) for part in parts], sum(p.stat().st_size for p in paths))
    return target


def cut(sizes: Sequence[int]) -> list[range]:
    """Neighbours for each shard, in order: of about equal size together. sizes: of the records, bytes."""
    most = min(max(sum(sizes) / _PARTS, _LEAST), _MOST)
    ends, first = [], 0
    before = [0, *accumulate(sizes)]
    for end in range(1, len(sizes) + 1):
        if end == len(sizes) or before[end] - before[first] >= most or end - first == _RECORDS:
            ends.append(range(first, end))
            first = end
    return ends


def write_shard(outcomes: Sequence[Outcome], path: Path, *, work: Path) -> None:
    """Writes the records of one shard; runs in a worker."""
    from array_record.python.array_record_module import ArrayRecordWriter

    form = features()
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        writer = ArrayRecordWriter(os.fspath(aside), "group_size:1")  # as TFDS opens it: any record by itself
        for outcome in outcomes:
            with np.load(pixels_path(work, outcome.record.record)) as pixels:
                example = to_example(outcome.record, pixels["image"], pixels["tissue"], outcome.lesions)
            writer.write(form.serialize_example(example))
        writer.close()
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _path(target: Path, name: str, shard: int, shards: int) -> Path:
    """As TFDS names its files."""
    return target / f"{name}-{SPLIT}.array_record-{shard:05d}-of-{shards:05d}"


def _describe(target: Path, name: str, lengths: Sequence[int], size: int) -> None:
    """Writes what TFDS must know of the files to read them."""
    import tensorflow_datasets as tfds

    template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    files = tfds.core.ShardedFileTemplate(
        data_dir=target, template=template, dataset_name=name, split=SPLIT, filetype_suffix="array_record"
    )
    split = tfds.core.SplitInfo(
        name=SPLIT, shard_lengths=list(lengths), num_bytes=size, filename_template=files
    )
    tfds.folder_dataset.write_metadata(
        data_dir=target,
        features=features(),
        split_infos=[split],
        version=VERSION,
        filename_template=template,
        check_data=False,  # it would read by TensorFlow
        description=f"Mammograms of {name}, cropped to the breast by mammojax.",
    )
