"""PNG, TIFF and PGM files to a Mammogram.

A container is no bit depth: 12-bit pictures lie in 16-bit files both as 0 ... 4095 and stretched to 0 ...
65535. A file may state its depth (sBIT in PNG, maxval in PGM). Where it does not, one file cannot tell it by its
own values: the brightest pixel of a 12-bit picture may be 1000. Then it is a property of the data set, found by
`mammogram.usual_depth` from the largest `raster_maximum` of all its files, and given to `read_raster`.
"""

import io
import re
import struct
import warnings as python_warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mammojax.images.mammogram import (
    MAX_PIXELS,
    Mammogram,
    Rejected,
    check_size,
    check_values,
    values_present,
)
from mammojax.images.views import from_file_name

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_KINDS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


def read_raster(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS, depth: int = 0) -> Mammogram:
    """The mammogram in a PNG, TIFF or PGM file at full bit depth; brighter is taken for denser.

    data: the file's bytes. name: its name or path; laterality and view are guessed from words in its last
    part, and `rules` says so. 8 and 16-bit grey is read, also as RGB with equal channels or with an opaque
    alpha channel (8-bit). max_pixels: larger declared sizes are rejected before memory is taken. depth: bits of a
    16-bit picture that does not state its own, 0 where nobody knows; then all 16 are taken, with a warning that tells
    the largest value. Spacing and patient are unknown. Raises Rejected, with the reason, for anything else, a value
    beyond the depth among it.
    """
    if depth and not 8 <= depth <= 16:
        raise ValueError(f"depth is {depth}; expected 8 to 16 bits, or 0")
    warnings: list[str] = []
    picture = _read(data, max_pixels, warnings)
    pixels, rules = picture.pixels, list(picture.rules)
    check_values(int(values_present(pixels).sum()))
    largest = int(pixels.max())
    if picture.bits:
        bits = picture.bits
        rules.append(f"{bits} bits by {picture.stated}")
    elif depth:
        bits = depth
        rules.append(f"{bits} bits, stated for the data set")
        if largest >= 2**bits:
            raise Rejected(
                f"the largest value is {largest}, beyond the {bits} bits that are stated for the data set"
            )
    else:
        bits = 16
        rules.append("16 bits by the container")
        warnings.append(
            f"the depth of this 16-bit picture is stated nowhere; its largest value is {largest}, 16 bits are taken"
        )
    if picture.white_is_zero:
        pixels = (2**bits - 1 - pixels.astype(np.int32)).astype(np.uint16)
        rules.append("inverted WhiteIsZero")
    laterality, view = from_file_name(name)
    guesses = [
        f"{what} guessed from the file name" for what, v in (("laterality", laterality), ("view", view)) if v
    ]
    return Mammogram(
        pixels=pixels,
        bits=bits,
        laterality=laterality,
        view=view,
        rules=(*rules, *guesses),
        warnings=tuple(warnings),
    )


def raster_maximum(data: bytes, *, max_pixels: int = MAX_PIXELS) -> int:
    """The largest value of a 16-bit PNG, TIFF or PGM that does not state its own depth; 0 for every other file.

    data: the file's bytes, whatever they are: DICOM, 8-bit pictures, those with a stated depth and what `read_raster`
    rejects give 0, for they have no say in the depth of a data set. Costs the decoding of the file.
    """
    try:
        picture = _read(data, max_pixels, [])
    except Rejected:
        return 0
    return 0 if picture.bits else int(picture.pixels.max())


@dataclass(frozen=True, eq=False)
class _Raster:
    """pixels: uint16[h, w] as stored. bits: what the file states, by `stated`, 0 if nothing."""

    pixels: np.ndarray
    rules: tuple[str, ...]
    bits: int = 0
    stated: str = ""
    white_is_zero: bool = False


def _read(data: bytes, max_pixels: int, warnings: list[str]) -> _Raster:
    if data[:8] == _PNG_START:
        return _read_png(data, max_pixels, warnings)
    if data[:2] in (b"P2", b"P5"):
        return _read_pgm(data, max_pixels, warnings)
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _read_tiff(data, max_pixels)
    raise Rejected("neither PNG, TIFF nor PGM (P2, P5)")


def _decode(data: bytes, form: str, max_pixels: int) -> tuple[np.ndarray, Image.Image]:
    """(pixels, the opened picture) by Pillow; a foreign file can make it raise anything."""
    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore")  # our own limit is checked, before any pixel is decoded
            picture = Image.open(io.BytesIO(data), formats=(form,))
            check_size(picture.height, picture.width, max_pixels)
            if getattr(picture, "n_frames", 1) != 1:
                raise Rejected(f"{picture.n_frames} pictures in one {form} file; expected one")
            return np.asarray(picture), picture
    except (Rejected, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise Rejected("more pixels are declared than any mammogram has") from None
    except Exception as error:
        raise Rejected(f"{form} cannot be decoded ({type(error).__name__}); it may be truncated") from None


def _grey(pixels: np.ndarray, form: str) -> np.ndarray:
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


def _read_png(data: bytes, max_pixels: int, warnings: list[str]) -> _Raster:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise Rejected("PNG without a header; truncated?")
    width, height, depth, kind = struct.unpack_from(">IIBB", data, 16)
    check_size(height, width, max_pixels)
    if depth not in (8, 16) or kind not in _PNG_KINDS or kind == 3:
        raise Rejected(
            f"PNG of {depth} bits, {_PNG_KINDS.get(kind, 'unknown kind')}; expected 8 or 16-bit grey"
        )
    if depth == 16 and kind in (2, 6):
        raise Rejected("PNG of 16-bit colours; save it as 16-bit grey")
    chunks = _png_chunks(data)
    if b"tRNS" in chunks:
        raise Rejected("PNG with transparent values")
    if (depth, kind) == (16, 4):
        # Pillow would halve the depth; read as 8-bit RGBA, which is filtered alike, the bytes come out
        # unchanged
        header = data[16:24] + bytes((8, 6)) + data[26:29]
        data = data[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:]
        both = np.ascontiguousarray(_decode(data, "PNG", max_pixels)[0]).view(">u2").astype(np.uint16)
        pixels = _grey(both, "PNG")
    else:
        pixels = _grey(_decode(data, "PNG", max_pixels)[0], "PNG")
    if depth == 8:
        return _Raster(pixels, ("PNG",), 8, "its container")
    stated = chunks.get(b"sBIT", b"")[:1]
    if stated and 8 <= stated[0] <= 15:
        return _significant(pixels, stated[0], warnings)
    return _Raster(pixels, ("PNG",), *((16, "sBIT") if stated == b"\x10" else ()))


def _png_chunks(data: bytes) -> dict[bytes, bytes]:
    """The small chunks that stand before the pixels, by name."""
    chunks, position = {}, 8
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind in (b"IDAT", b"IEND"):
            break
        chunks[kind] = data[position + 8 : position + 8 + min(length, 64)]
        position += 12 + length
    return chunks


def _significant(pixels: np.ndarray, stated: int, warnings: list[str]) -> _Raster:
    """Takes back the stretching of `stated` significant bits to 16 that the PNG standard asks for
    (11.3.2.4).
    """
    if int(pixels.max()) < 2**stated:
        return _Raster(pixels, ("PNG, values not stretched",), stated, "sBIT")
    present = np.flatnonzero(values_present(pixels))
    if np.unique(present >> (16 - stated)).size < present.size:
        warnings.append(f"sBIT says {stated} bits, but the values need more; 16 bits were kept")
        return _Raster(pixels, ("PNG",), 16, "its values, against sBIT")
    return _Raster(pixels >> (16 - stated), ("PNG, stretching undone",), stated, "sBIT")


def _read_tiff(data: bytes, max_pixels: int) -> _Raster:
    pixels, picture = _decode(data, "TIFF", max_pixels)
    tags = picture.tag_v2
    depths, sample_format = tags.get(258, (1,)), tags.get(339, (1,))
    depth = depths[0] if isinstance(depths, tuple) else depths
    sample_format = sample_format if isinstance(sample_format, tuple) else (sample_format,)
    if picture.mode in ("P", "PA", "1") or depth not in (8, 12, 16) or set(sample_format) != {1}:
        raise Rejected(f"TIFF of mode {picture.mode}, {depth} bits; expected 8 or 16-bit unsigned grey")
    if depth == 16 and pixels.dtype.itemsize != 2:
        raise Rejected("TIFF of 16-bit colours; save it as 16-bit grey")
    pixels = _grey(pixels, "TIFF")
    inverted = tags.get(262) == 0 and picture.mode != "L"  # WhiteIsZero; Pillow inverts it for 8 bits alone
    rules = ("TIFF, inverted WhiteIsZero",) if tags.get(262) == 0 and not inverted else ("TIFF",)
    stated = (depth, "its container") if depth < 16 else ()
    return _Raster(pixels, rules, *stated, white_is_zero=inverted)


def _read_pgm(data: bytes, max_pixels: int, warnings: list[str]) -> _Raster:
    # Netpbm: magic, width, height, maxval, parted by white space and comments to the end of the line; then
    # one byte
    gap = rb"(?:\s|#[^\r\n]*[\r\n])+"
    match = re.match(rb"P([25])" + 2 * (gap + rb"(\d{1,9})") + gap + rb"(\d{1,9})\s", data[:65536])
    if not match:
        raise Rejected("PGM without a readable header; truncated?")
    plain = match[1] == b"2"
    width, height, maxval = (int(match[i]) for i in (2, 3, 4))
    check_size(height, width, max_pixels)
    if not 1 <= maxval <= 65535:
        raise Rejected(f"PGM with a largest value of {maxval}; 1 to 65535 are allowed")
    count, body = width * height, data[match.end() :]
    if plain:
        pixels = _plain_values(body, count)
    else:
        form = np.dtype(">u2" if maxval > 255 else "u1")
        if len(body) < count * form.itemsize:
            raise Rejected(f"truncated: {len(body)} bytes of pixels, {count * form.itemsize} declared")
        if body[count * form.itemsize :].strip():
            warnings.append("data after the picture were ignored")
        pixels = np.frombuffer(body, form, count).astype(np.uint16)
    if int(pixels.max()) > maxval:
        raise Rejected(f"PGM holds {int(pixels.max())}, more than its largest value of {maxval}")
    # 65535 is what writers put who do not know; a smaller one is a statement
    stated = (maxval.bit_length(), f"maxval {maxval}") if maxval < 65535 else ()
    return _Raster(pixels.reshape(height, width), ("PGM",), *stated)


def _plain_values(body: bytes, count: int) -> np.ndarray:
    """uint16[count] from decimal numbers, without a Python object for each."""
    if (
        len(body) < 2 * count - 1
    ):  # a digit and a space each: checked before memory is taken for `count` values
        raise Rejected(f"truncated: {len(body)} bytes cannot hold {count} values")
    body = re.sub(rb"#[^\r\n]*", b"", body)
    if re.search(rb"[^0-9\s]", body):
        raise Rejected("plain PGM with something else than numbers")
    values = np.fromstring(body, np.int64, count=-1, sep=" ")
    if values.size < count:
        raise Rejected(f"truncated: {values.size} values, {count} declared")
    if values[:count].max() > 65535:
        raise Rejected("plain PGM with values above 65535")
    return values[:count].astype(np.uint16)
