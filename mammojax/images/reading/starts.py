"""Whether a file is DICOM, by its first bytes, without pydicom: it takes seconds to load, and most starts read no such file."""

_EXPLICIT_VR = b"AE AS AT CS DA DS DT FL FD IS LO LT OB OW PN SH SL SQ SS ST TM UI UL UN US UT".split()


def starts_as_dicom(head: bytes) -> bool:
    """Whether a file whose first bytes (132 or more) these are is DICOM, with the preamble or without."""
    if head[128:132] == b"DICM":
        return True
    if head[:2] not in (b"\x02\x00", b"\x08\x00") or len(head) < 16:  # a file starts in group 0002 or 0008
        return False
    explicit = head[4:6] in _EXPLICIT_VR
    return explicit or (
        head[2:4] in (b"\x00\x00", b"\x01\x00", b"\x05\x00", b"\x08\x00", b"\x16\x00")
        and int.from_bytes(head[4:8], "little") < 1024
    )
