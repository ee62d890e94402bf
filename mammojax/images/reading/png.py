"""PNG, read strictly: every chunk's checksum, the checksum and the exact length of the pixels (ISO/IEC 15948)."""

import struct
import zlib

import numpy as np

from mammojax.images.mammogram import Rejected, check_size, values_present
from mammojax.images.reading.grey_picture import GreyPicture, decode, grey, inflated

PNG_START = b"\x89PNG\r\n\x1a\n"
_KINDS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
_SAMPLES = {0: 1, 2: 3, 4: 2, 6: 4}
_MOST_EXIF = 1 << 16  # bytes, as in JPEG
_MOST_CHUNKS = 200_000  # of a kilobyte each they would hold the largest picture
# first row, first column, row step, column step of the seven passes of an interlaced picture (8.2)
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def read_png(data: bytes, max_pixels: int, warnings: list[str]) -> GreyPicture:
    """The picture of an 8 or 16-bit grey PNG, also as RGB of equal channels or with an opaque alpha channel.

    A depth stated by sBIT is believed, and the stretching to 16 bits taken back. max_pixels: larger declared sizes are
    rejected before memory is taken. Raises Rejected for anything else, damage among it.
    """
    if len(data) < 33 or data[8:16] != b"\0\0\0\x0dIHDR":
        raise Rejected("PNG without a header; truncated?")
    width, height, depth, kind, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    check_size(height, width, max_pixels)
    if depth not in (8, 16) or kind not in _KINDS or kind == 3:
        raise Rejected(f"PNG of {depth} bits, {_KINDS.get(kind, 'unknown kind')}; expected 8 or 16-bit grey")
    if depth == 16 and kind in (2, 6):
        raise Rejected("PNG of 16-bit colours; save it as 16-bit grey")
    chunks, body = _chunks(data, warnings)
    if b"tRNS" in chunks:
        raise Rejected("PNG with transparent values")
    if b"acTL" in chunks:
        raise Rejected("several pictures in one PNG file; expected one")
    row = _SAMPLES[kind] * depth // 8  # bytes a pixel, times columns, plus one that tells the filter
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = ((-(-(height - top) // down), -(-(width - left) // right)) for top, left, down, right in passes)
    inflated(body, sum(h * (1 + row * w) for h, w in sizes if h > 0 and w > 0), "the PNG's pixel data")
    # decoded from what was checked and nothing else: other chunks can be many, or bombs
    header = data[16:29]
    if (depth, kind) == (16, 4):
        # Pillow would halve the depth; read as 8-bit RGBA, which is filtered alike, the bytes come out
        # unchanged
        header = header[:8] + bytes((8, 6)) + header[10:]
    exif = [(b"eXIf", chunks[b"eXIf"])] if b"eXIf" in chunks else []
    parts = ((b"IHDR", header), *exif, (b"IDAT", body), (b"IEND", b""))
    plain = PNG_START + b"".join(
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(d, zlib.crc32(n))) for n, d in parts
    )
    pixels, _, turned = decode(plain, "PNG", max_pixels)
    rule = ("PNG", *turned)
    if (depth, kind) == (16, 4):
        pixels = np.ascontiguousarray(pixels).view(">u2").astype(np.uint16)
    pixels = grey(pixels, "PNG")
    if depth == 8:
        return GreyPicture(pixels, rule, 8, "its container")
    stated = chunks.get(b"sBIT", b"")[:1]
    if stated and 8 <= stated[0] <= 15:
        return _significant(pixels, stated[0], turned, warnings)
    return GreyPicture(pixels, rule, *((16, "sBIT") if stated == b"\x10" else ()))


def _chunks(data: bytes, warnings: list[str]) -> tuple[dict[bytes, bytes], bytes]:
    """(the first bytes of the chunks beside the pixels, by name; the pixel data of all IDAT chunks together)."""
    chunks, body, position, name, view = {}, [], len(PNG_START), b"", memoryview(data)
    for _ in range(_MOST_CHUNKS):
        if position + 12 > len(data):
            raise Rejected("truncated: the PNG has no end chunk")
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            raise Rejected(f"truncated: {_told(name)} goes beyond the end of the file")
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise Rejected(f"damaged: the checksum of {_told(name)} is wrong")
        if name == b"IDAT":
            body.append(view[position + 8 : end])
        else:
            kept = _MOST_EXIF if name == b"eXIf" else 64
            chunks[name] = data[position + 8 : min(end, position + 8 + kept)]
        position = end + 4
        if name == b"IEND":
            break
    else:
        raise Rejected(f"PNG of more than {_MOST_CHUNKS} chunks")
    if data[position:].strip(b"\0\r\n "):
        warnings.append("data after the end of the PNG were ignored")
    return chunks, b"".join(body)


def _told(name: bytes) -> str:
    return f"the PNG's {name.decode()} chunk" if name.isalpha() else "a chunk of the PNG"


def _significant(
    pixels: np.ndarray, stated: int, turned: tuple[str, ...], warnings: list[str]
) -> GreyPicture:
    """Takes back the stretching of `stated` significant bits to 16 that the PNG standard asks for
    (11.3.2.4).
    """
    if int(pixels.max()) < 2**stated:
        return GreyPicture(pixels, ("PNG, values not stretched", *turned), stated, "sBIT")
    present = np.flatnonzero(values_present(pixels))
    if np.unique(present >> (16 - stated)).size < present.size:
        warnings.append(f"sBIT says {stated} bits, but the values need more; 16 bits were kept")
        return GreyPicture(pixels, ("PNG", *turned), 16, "its values, against sBIT")
    return GreyPicture(pixels >> (16 - stated), ("PNG, stretching undone", *turned), stated, "sBIT")
