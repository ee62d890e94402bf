"""What preparation costs beside what cannot be saved: each step of one file, and a whole set with several workers."""

import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from mammojax.datasets.prepare import prepare
from mammojax.hostile.whole import dicom, jpeg_2000
from mammojax.images.breast import crop_breast
from mammojax.images.reading.any_file import read_mammogram
from mammojax.phantom.screening_set import phantom_patient
from mammojax.settings.tree import Folder

STEPS = ("hash", "decode", "box and crop", "write")
FORMS = (ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless)  # in turn
MOST = 1.4  # times decoding and writing that a set may cost
LEAST = 1.7  # times as many files a second that two workers must do


@dataclass(frozen=True)
class Cost:
    """files: of the set. steps: by form of the file, seconds of each step of one file, the mean over those of the form.
    sets: seconds of the whole set by number of workers, the start of Python and of the processes in it."""

    files: int
    steps: dict[str, dict[str, float]]
    sets: dict[int, float]

    @property
    def needed(self) -> float:
        """Seconds to decode every file and write its crop, one after the other."""
        shares = (len(range(k, self.files, len(FORMS))) for k in range(len(FORMS)))
        return sum(n * (step["decode"] + step["write"]) for n, step in zip(shares, self.steps.values()))


def cost(
    files: int, *, height: int, width: int, workers: tuple[int, ...], seed: int, say: Callable[[str], None]
) -> Cost:
    """Measures on made DICOM files of 12 bits: uncompressed, JPEG 2000 Lossless and RLE Lossless in turn. files: three or
    more. workers: numbers of them that are tried."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.mkdir()
        _make(source, files, height, width, seed)
        say(f"{files} files of {height} x {width} pixels were made")
        steps = {}
        for k, form in enumerate(FORMS):
            found = [_steps(source / f"{i}.dcm", Path(folder) / "crop") for i in range(k, files, len(FORMS))]
            steps[form.name] = {step: sum(one[step] for one in found) / len(found) for step in STEPS}
        sets = {}
        for number in workers:
            began = time.perf_counter()
            prepare(
                "folder", source, Path(folder) / f"prepared {number}", options=vars(Folder()), workers=number
            )
            sets[number] = time.perf_counter() - began
            say(f"{number} workers: {sets[number]:.1f} s")
    return Cost(files, steps, sets)


def _make(folder: Path, files: int, height: int, width: int, seed: int) -> None:
    """Phantom films, each with pixels of its own, and their table."""
    small = phantom_patient(seed, 0, malignant=False, height=512, width=max(256, round(512 * width / height)))
    rows = ["path,patient,label,laterality,view"]
    for k in range(files):
        view = small[k % 4]
        dense = view.pixels if view.photometric == "MONOCHROME2" else 2**view.bits - 1 - view.pixels
        twelve = dense.astype(np.float32) * (4095 / (2**view.bits - 1))
        across = [np.arange(n) * m // n for n, m in zip((height, width), twelve.shape)]
        noise = np.random.default_rng(k).integers(0, 16, (height, width))
        pixels = np.clip(twelve[across[0]][:, across[1]] + noise, 0, 4095).astype(np.uint16)
        form = FORMS[k % len(FORMS)]
        body = jpeg_2000(pixels) if form == JPEG2000Lossless else None
        (folder / f"{k}.dcm").write_bytes(dicom(pixels, form, body))
        rows.append(f"{k}.dcm,p{k // 4},{k // 4 % 2},{view.laterality},{view.view}")
    (folder / "table.csv").write_text("\n".join(rows))


def _steps(path: Path, target: Path) -> dict[str, float]:
    """Seconds of each step of one file."""
    seconds = {}
    began = time.perf_counter()
    data = path.read_bytes()
    hashlib.sha256(data).hexdigest()
    seconds["hash"] = time.perf_counter() - began
    began = time.perf_counter()
    mammogram = read_mammogram(data, path.name)
    seconds["decode"] = time.perf_counter() - began
    began = time.perf_counter()
    crop = crop_breast(mammogram)
    seconds["box and crop"] = time.perf_counter() - began
    began = time.perf_counter()
    writer = ArrayRecordWriter(str(target), "group_size:1")  # as TFDS writes the records of a set: with zstd
    writer.write(crop.image.tobytes())
    writer.close()
    seconds["write"] = time.perf_counter() - began
    return seconds
