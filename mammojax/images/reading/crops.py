"""Files to their breast crops, each read in a child process while the one before is worked on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mammojax.images.breast import Crop, crop_breast
from mammojax.images.mammogram import Mammogram, Rejected
from mammojax.images.reading.any_file import read_mammogram
from mammojax.images.reading.isolated import in_children


def read_crop(path: Path, margin: float, for_processing: str, depth: int = 0) -> tuple[Mammogram, Crop] | str:
    """The mammogram and its breast crop, or the reason why the file cannot be used. depth: see `read_mammogram`."""
    try:
        mammogram = read_mammogram(path.read_bytes(), path.name, for_processing=for_processing, depth=depth)
        return mammogram, crop_breast(mammogram, margin=margin)
    except Rejected as reason:
        return str(reason)
    except (MemoryError, OSError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}"


def read_crops(
    paths: Sequence[Path], *, margin: float, for_processing: str, depth: int = 0
) -> Iterator[tuple[Mammogram, Crop] | str]:
    """What `read_crop` returns for every path, in order, read one file ahead in a child process. A file that kills the
    child gets `CRASHED`, and the rest goes on in a fresh one."""
    jobs = ((path, margin, for_processing, depth) for path in paths)
    for _, found in in_children(read_crop, jobs, workers=1):  # one child keeps the order
        yield found
