"""What the readers of PNG, TIFF and PGM share: the picture as stored, and Pillow kept in bounds."""

import io
import warnings as python_warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image

from mammojax.images.mammogram import Rejected, check_size


@dataclass(frozen=True, eq=False)
class GreyPicture:
    """pixels: uint16[h, w] as a viewer lays them. rules: what was done. bits: the depth that the file states, by `stated`; 0 if it
    states none. white_is_zero: whether they are still to be inverted."""

    pixels: np.ndarray
    rules: tuple[str, ...]
    bits: int = 0
    stated: str = ""
    white_is_zero: bool = False


def decode(
    data: bytes, form: str, max_pixels: int, check: Callable[[Image.Image], None] = lambda picture: None
) -> tuple[np.ndarray, Image.Image, tuple[str, ...]]:
    """(pixels, the opened picture, rules) by Pillow; a foreign file can make it raise anything.

    A picture whose Orientation (of TIFF or Exif) says so is turned, as viewers and tools for annotation do; then there
    is a rule.

    form: "PNG" or "TIFF". check: called with the opened picture before its pixels are decoded; raises Rejected.
    """
    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore")  # our own limit is checked, before any pixel is decoded
            picture = Image.open(io.BytesIO(data), formats=(form,))
            check_size(picture.height, picture.width, max_pixels)
            if _has_more(picture):
                raise Rejected(f"several pictures in one {form} file; expected one")
            check(picture)
            orientation = _orientation(picture)
            pixels = np.asarray(picture)  # Pillow turns TIFF by itself
            if orientation == 1:
                return pixels, picture, ()
            pixels = pixels if form == "TIFF" else _TURNS[orientation](pixels)
            return pixels, picture, (f"turned by Orientation {orientation}",)
    except (Rejected, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise Rejected("more pixels are declared than any mammogram has") from None
    except Exception as error:
        raise Rejected(f"{form} cannot be decoded ({type(error).__name__}); it may be truncated") from None


_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}  # TIFF 6.0, section 8


def _orientation(picture: Image.Image) -> int:
    """1 to 8, 1 where none is told or it cannot be read."""
    try:
        told = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except MemoryError:
        raise
    except Exception:  # a foreign file can make the parser raise anything
        return 1
    return told if told in _TURNS else 1


def _has_more(picture: Image.Image) -> bool:
    """Whether there is a second picture; to count them all would read through a file of thousands."""
    try:
        picture.seek(1)
    except EOFError:
        return False
    return True


def grey(pixels: np.ndarray, form: str) -> np.ndarray:
    """uint16[h, w] of a decoded picture whose colours are equal and whose alpha is opaque; Rejected
    otherwise.
    """
    if pixels.ndim == 3:
        channels = pixels.shape[2]
        if channels in (2, 4):
            if not (pixels[..., -1] == np.iinfo(pixels.dtype).max).all():
                raise Rejected(f"{form} with transparent pixels")
            pixels = pixels[..., :-1]
        if not (pixels == pixels[..., :1]).all():
            raise Rejected(f"colour {form}; expected grey")
        pixels = pixels[..., 0]
    if pixels.ndim != 2 or pixels.dtype.kind != "u" or pixels.dtype.itemsize > 2:
        raise Rejected(f"{form} of {pixels.dtype} values; expected 8 or 16-bit grey")
    return np.ascontiguousarray(pixels, np.uint16)


def inflated(data: bytes, expected: int, what: str) -> None:
    """Raises Rejected unless `data` is one whole zlib stream of `expected` bytes whose checksum is right.

    what: names it in the reason. Decoders of pictures read over all of this.
    """
    inflater = zlib.decompressobj()
    try:
        found = len(inflater.decompress(data, expected + 1))
    except zlib.error:
        raise Rejected(f"damaged: {what} cannot be inflated, or its checksum is wrong") from None
    if found > expected:
        raise Rejected(f"damaged: {what} holds more than the {expected} bytes declared")
    if found < expected or not inflater.eof:
        raise Rejected(f"truncated: {what} holds {found} of {expected} bytes declared")
    if inflater.unused_data.strip(b"\0"):
        raise Rejected(f"damaged: {what} goes on after its end")
