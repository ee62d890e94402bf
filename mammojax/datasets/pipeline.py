"""Grain pipelines: the same batches and the same random numbers for any number of workers and threads.

Grain's MapDataset is used and not its DataLoader, which batches per worker and so gives other batches for two workers
than for one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import grain
import numpy as np

from mammojax.datasets.record import RecordSet
from mammojax.runs import stopping


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes of a crop; all zero leaves it as it is.

    flip: probability of an up-down flip (the chest wall stays left). rotation: degrees, drawn from +-rotation.
    scaling: drawn log-uniformly from 1/(1+scaling) to 1+scaling. intensity: contrast and brightness, drawn from
    1 +- intensity and +- intensity/2 of the image's own range.
    """

    flip: float = 0.0
    rotation: float = 0.0
    scaling: float = 0.0
    intensity: float = 0.0


@dataclass(frozen=True)
class Change:
    """One random change: flipped up-down, angle in radians, scale, contrast, brightness (share of the image's range)."""

    flip: bool
    angle: float
    scale: float
    contrast: float
    brightness: float


def draw(augmentation: Augmentation, rng: np.random.Generator) -> Change:
    """A change within the ranges."""
    return Change(
        flip=bool(rng.random() < augmentation.flip),
        angle=float(np.deg2rad(rng.uniform(-augmentation.rotation, augmentation.rotation))),
        scale=float((1 + augmentation.scaling) ** rng.uniform(-1, 1)),
        contrast=float(1 + rng.uniform(-augmentation.intensity, augmentation.intensity)),
        brightness=float(rng.uniform(-augmentation.intensity, augmentation.intensity) / 2),
    )


def moved(image: np.ndarray, change: Change) -> np.ndarray:
    """float32[h, w]: the picture flipped, turned and scaled; what comes from outside is 0.

    The chest wall (left edge, middle row) is the fixed point of rotation and scaling, so that the breast stays attached
    to it; so a picture and a reduced copy of it are changed alike.
    """
    from scipy import ndimage

    if change.flip:
        image = image[::-1]
    if not change.angle and change.scale == 1:
        return image.astype(np.float32)
    cosine, sine = np.cos(change.angle) / change.scale, np.sin(change.angle) / change.scale
    back = np.array([[cosine, -sine], [sine, cosine]])  # output to input coordinates
    # A rotation looks beyond the chest wall: the edge is continued there, or a black wedge would detach the breast.
    reach = int(np.ceil(abs(sine) * image.shape[0] / 2)) + 1
    continued = np.pad(image, ((0, 0), (reach, 0)), mode="edge")
    centre = np.array([(image.shape[0] - 1) / 2, 0.0])
    offset = centre + np.array([0, reach]) - back @ centre
    return ndimage.affine_transform(continued, back, offset, image.shape, order=1, output=np.float32)


def augment(image: np.ndarray, bits: int, change: Change) -> np.ndarray:
    """uint16[h, w]: a changed copy of a crop of the same size; background (0) stays background.

    image: uint16[h, w] with values in [0, 2**bits - 1].
    """
    image = moved(image, change)
    if change.contrast != 1 or change.brightness:
        top = float(image.max())
        changed = np.maximum(change.contrast * image + change.brightness * top, 1)
        image = np.where(image > 0, changed, 0)
    return np.clip(np.rint(image), 0, 2**bits - 1).astype(np.uint16)


class _Augment(grain.transforms.RandomMap):
    def __init__(self, augmentation: Augmentation):
        self._augmentation = augmentation

    def random_map(self, element: dict, rng: np.random.Generator) -> dict:
        change = draw(self._augmentation, rng)
        return {
            **element,
            "image": augment(element["image"], element["bits"], change),
            "tissue": np.clip(np.rint(moved(element["tissue"], change)), 0, 255).astype(np.uint8),
        }


def crops(
    records: RecordSet,
    indices: Sequence[int],
    *,
    augmentation: Augmentation | None,
    seed: int,
    transform,
    workers: int = 0,
    threads: int = 2,
    places: Sequence[int] | None = None,
) -> Iterator[dict]:
    """Yields the elements of `records` at `indices`, in that order, augmented and transformed.

    places: in `indices`, which are read; None for all. They are what they would be if all were.

    transform(element) -> element: a picklable function, applied in the workers. augmentation: None for none; its
    random numbers are determined by seed and by the position in `indices`. workers: processes (absl flags must be
    parsed, see Grain); 0 reads with `threads` threads in this process. Raises `Stopped` after an element once that was
    asked for.
    """
    dataset = grain.MapDataset.source(_Selected(records, tuple(map(int, indices)))).seed(seed)
    if augmentation is not None:
        dataset = dataset.random_map(_Augment(augmentation))
    dataset = dataset.map(transform)
    if places is not None:
        dataset = grain.MapDataset.source(_At(dataset, places))
    reading = dataset.to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    )
    if workers:
        reading = reading.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    for element in reading:
        yield element
        stopping.check()


class _At:
    """A random-access view of places of a data set."""

    def __init__(self, elements, places: Sequence[int]):
        self._elements, self._places = elements, tuple(map(int, places))

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, i: int) -> dict:
        return self._elements[self._places[i]]


class _Selected:
    """A random-access view of chosen records."""

    def __init__(self, records: RecordSet, indices: tuple[int, ...]):
        self._records, self._indices = records, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, i: int) -> dict:
        return self._records[self._indices[i]]
