"""PNG, TIFF and PGM files to a Mammogram.

A container is no bit depth: 12-bit pictures lie in 16-bit files both as 0 ... 4095 and stretched to 0 ...
65535. The depth is what the file states (sBIT in PNG, maxval in PGM), else the smallest usual one that
holds the values.
"""

import io
import re
import struct
import warnings as python_warnings
import zlib

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

_DEPTHS = (8, 10, 12, 14, 16)
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_KINDS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


def read_raster(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Mammogram:
    """The mammogram in a PNG, TIFF or PGM file at full bit depth; brighter is taken for denser.

    data: the file's bytes. name: its name or path; laterality and view are guessed from words in its last
    part, and `rules` says so. 8 and 16-bit grey is read, also as RGB with equal channels or with an opaque
    alpha channel (8-bit). max_pixels: larger declared sizes are rejected before memory is taken. Spacing
    and patient are unknown. Raises Rejected, with the reason, for anything else.
    """
    warnings: list[str] = []
    if data[:8] == _PNG_START:
        pixels, bits, rules = _read_png(data, max_pixels, warnings)
    elif data[:2] in (b"P2", b"P5"):
        pixels, bits, rules = _read_pgm(data, max_pixels, warnings)
    elif data[:4] in (b"II*\0", b"MM\0*"):
        pixels, bits, rules = _read_tiff(data, max_pixels)
    else:
        raise Rejected("neither PNG, TIFF nor PGM (P2, P5)")
    check_values(int(values_present(pixels).sum()))
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


def _depth_of(pixels: np.ndarray) -> tuple[int, str]:
    needed = int(pixels.max()).bit_length()
    bits = next(b for b in _DEPTHS if b >= needed)
    return bits, f"{bits} bits by the largest value"


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


def _read_png(data: bytes, max_pixels: int, warnings: list[str]) -> tuple[np.ndarray, int, list[str]]:
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
    stated = chunks.get(b"sBIT", b"")[:1]
    if depth == 8:
        return pixels, 8, ["PNG, 8 bits"]
    if stated and 8 <= stated[0] <= 15:
        return _significant(pixels, stated[0], warnings)
    bits, rule = _depth_of(pixels)
    return pixels, bits, ["PNG", rule]


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


def _significant(pixels: np.ndarray, stated: int, warnings: list[str]) -> tuple[np.ndarray, int, list[str]]:
    """Takes back the stretching of `stated` significant bits to 16 that the PNG standard asks for
    (11.3.2.4).
    """
    if int(pixels.max()) < 2**stated:
        return pixels, stated, ["PNG", f"sBIT {stated}, values not stretched"]
    present = np.flatnonzero(values_present(pixels))
    if np.unique(present >> (16 - stated)).size < present.size:
        warnings.append(f"sBIT says {stated} bits, but the values need more; 16 bits were kept")
        return pixels, 16, ["PNG", "16 bits against sBIT"]
    return pixels >> (16 - stated), stated, ["PNG", f"sBIT {stated}, stretching undone"]


def _read_tiff(data: bytes, max_pixels: int) -> tuple[np.ndarray, int, list[str]]:
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
    rules = ["TIFF"]
    if depth == 16:
        bits, rule = _depth_of(pixels)
        rules.append(rule)
    else:
        bits = depth
        rules.append(f"{depth} bits")
    if tags.get(262) == 0 and picture.mode != "L":  # WhiteIsZero; Pillow inverts it for 8 bits alone
        pixels = (2**depth - 1 - pixels.astype(np.int32)).astype(np.uint16)
        bits = depth
        rules[1:] = [f"{depth} bits", "inverted WhiteIsZero"]
    return pixels, bits, rules


def _read_pgm(data: bytes, max_pixels: int, warnings: list[str]) -> tuple[np.ndarray, int, list[str]]:
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
    bits = maxval.bit_length()
    return pixels.reshape(height, width), bits, ["PGM", f"{bits} bits by maxval {maxval}"]


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
