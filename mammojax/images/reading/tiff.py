"""TIFF, read strictly: every strip or tile that is declared, at its exact length (TIFF 6.0, sections 3, 8, 9, 13 to 15).

Deflate is checked by its checksum; LZW and PackBits have none, and uncompressed pixels neither.
"""

from PIL import Image

from mammojax.images.mammogram import Rejected
from mammojax.images.reading.grey_picture import GreyPicture, decode, grey, inflated

_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS = 1, 5, 8, 32946, 32773


def read_tiff(data: bytes, max_pixels: int) -> GreyPicture:
    """The picture of an 8, 12 or 16-bit unsigned grey TIFF, also as RGB of equal channels or with an opaque alpha.

    max_pixels: larger declared sizes are rejected before memory is taken. Raises Rejected for anything else, for
    several pages and for damage among it.
    """
    pixels, picture, turned = decode(data, "TIFF", max_pixels, lambda opened: _check(data, opened))
    depth = _numbers(picture, 258, 1)[0]
    pixels = grey(pixels, "TIFF")
    white_is_zero = _numbers(picture, 262, 1)[0] == 0
    undone = white_is_zero and picture.mode == "L"  # Pillow inverts 8 bits alone
    rules = ("TIFF, inverted WhiteIsZero" if undone else "TIFF", *turned)
    stated = (depth, "its container") if depth < 16 else ()
    return GreyPicture(pixels, rules, *stated, white_is_zero=white_is_zero and not undone)


def _numbers(picture: Image.Image, tag: int, *default: int) -> tuple[int, ...]:
    """A tag's values; Rejected if they are none."""
    value = picture.tag_v2.get(tag, default)
    value = value if isinstance(value, tuple) else (value,)
    if not value or not all(isinstance(v, int) and v >= 0 for v in value):
        raise Rejected(f"TIFF whose tag {tag} is absent or malformed")
    return value


def _check(data: bytes, picture: Image.Image) -> None:
    """Raises Rejected for pixels that are not grey, or not all there."""
    depths, formats = _numbers(picture, 258, 1), _numbers(picture, 339, 1)
    depth = depths[0]
    if (
        picture.mode in ("P", "PA", "1")
        or depth not in (8, 12, 16)
        or set(formats) != {1}
        or set(depths) != {depth}
    ):
        raise Rejected(f"TIFF of mode {picture.mode}, {depth} bits; expected 8 or 16-bit unsigned grey")
    samples = _numbers(picture, 277, 1)[0]
    if depth == 16 and samples > 1:
        raise Rejected("TIFF of 16-bit colours; save it as 16-bit grey")
    compression = _numbers(picture, 259, 1)[0]
    if compression not in (_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS):
        raise Rejected(f"TIFF of compression {compression}; expected none, LZW, deflate or PackBits")
    planes = samples if _numbers(picture, 284, 1)[0] == 2 else 1
    bits = depth * samples // planes  # of a pixel within a strip
    # as they lie in the file: the size that Pillow tells is that of the turned picture
    height, width = _numbers(picture, 257)[0], _numbers(picture, 256)[0]
    if 324 in picture.tag_v2:
        rows, columns = _numbers(picture, 323)[0], _numbers(picture, 322)[0]
        parts, offsets, counts = "tiles", _numbers(picture, 324), _numbers(picture, 325)
        if not rows or not columns:
            raise Rejected("TIFF with empty tiles")
        number = -(-height // rows) * -(-width // columns) * planes
        line, last = -(-columns * bits // 8), rows
    else:
        rows = min(_numbers(picture, 278, height)[0], height)
        parts, offsets, counts = "strips", _numbers(picture, 273), _numbers(picture, 279)
        if not rows:
            raise Rejected("TIFF with empty strips")
        number = -(-height // rows) * planes
        line, last = -(-width * bits // 8), (height - 1) % rows + 1
    if not len(offsets) == len(counts) == number:
        raise Rejected(f"truncated: {len(offsets)} {parts} of {number} that the declared size needs")
    whole = line * rows  # the last strip may be written at full height, or at that of its rows
    for k, (offset, count) in enumerate(zip(offsets, counts, strict=True)):
        what = f"one of the TIFF's {parts}"
        if offset + count > len(data):
            raise Rejected(f"truncated: {what} goes beyond the end of the file")
        body = data[offset : offset + count]
        needed = line * last if (k + 1) % (number // planes) == 0 else whole
        if compression == _NONE and count not in (needed, whole):
            raise Rejected(f"damaged: {what} has {count} bytes, {needed} are needed")
        if compression in (_DEFLATE, _OLD_DEFLATE):
            _check_deflated(body, needed, whole, what)
        if compression == _PACKBITS and (found := _packbits_length(body)) not in (needed, whole):
            raise Rejected(f"damaged: {what} unpacks to {found} bytes, {needed} are needed")


def _check_deflated(body: bytes, needed: int, whole: int, what: str) -> None:
    try:
        inflated(body, needed, what)
    except Rejected:
        if whole == needed:
            raise
        inflated(body, whole, what)


def _packbits_length(body: bytes) -> int:
    """Bytes that a PackBits run would unpack to; -1 if it ends within a packet."""
    position = length = 0
    while position < len(body):
        head = body[position]
        if head < 128:
            position, length = position + 2 + head, length + 1 + head
        elif head > 128:
            position, length = position + 2, length + 257 - head
        else:
            position += 1
    return length if position == len(body) else -1
