"""The size that a compressed picture declares by itself, read before a decoder takes memory for it."""

import struct

_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {
    0xC4,
    0xC8,
    0xCC,
}  # JPEG (ITU-T T.81 B.1.1.3) and JPEG-LS (T.87)


def declared_size(codestream: bytes) -> tuple[int, int, int] | None:
    """(rows, columns, components) of a JPEG, JPEG-LS or JPEG 2000 codestream; None if it tells none."""
    try:
        if codestream[:2] == b"\xff\xd8":
            return _jpeg(codestream)
        start = codestream[:4096].find(
            b"\xff\x4f\xff\x51"
        )  # JPEG 2000: SOC and SIZ, perhaps inside a JP2 box
        if start >= 0:
            right, bottom, left, top = struct.unpack_from(">4I", codestream, start + 8)
            (components,) = struct.unpack_from(">H", codestream, start + 40)
            return bottom - top, right - left, components
    except (struct.error, IndexError):
        pass
    return None


def _jpeg(data: bytes) -> tuple[int, int, int] | None:
    position = 2
    while True:
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in _START_OF_FRAME:
            return struct.unpack_from(">HHB", data, position + 5)
        if marker in (0xD9, 0xDA):  # the picture's end or the first scan: no frame was declared
            return None
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
