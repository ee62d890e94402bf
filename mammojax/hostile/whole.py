"""Whole files of every kind that is read, small, with identifiers in their headers: what damage is done to."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation

IDENTIFIER = "HOSTILE^IDENTIFIER"  # planted: it must be in no reason
_ROWS, _COLUMNS = 40, 32


def picture(rng: np.random.Generator, bits: int = 12) -> np.ndarray:
    """uint16[40, 32] in [0, 2**bits - 1]: a bright half at the chest wall."""
    values = rng.integers(0, 2**bits // 8, (_ROWS, _COLUMNS))
    values[8:32, :18] += 2**bits // 2
    return values.astype(np.uint16)


def dicom(
    pixels: np.ndarray, syntax: str = uid.ExplicitVRLittleEndian, body: bytes | None = None, **elements
) -> bytes:
    """A DICOM file. body: the compressed pixels. elements: set last, by keyword; None deletes one."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    header.SOPClassUID, header.SOPInstanceUID = DigitalMammographyXRayImageStorageForPresentation, "1.2.3.4"
    header.Modality, header.Manufacturer = "MG", "Maker"
    header.PatientName = header.PatientID = IDENTIFIER
    header.ImageLaterality, header.ViewPosition = "L", "CC"
    header.PatientOrientation, header.ImagerPixelSpacing = ["A", "R"], [0.1, 0.1]
    header.WindowCenter, header.WindowWidth = ["2048", "1000"], ["4096", "3000"]
    header.RescaleSlope, header.RescaleIntercept = "1", "0"
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Rows, header.Columns = pixels.shape
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 12, 11, 0
    header.PixelPaddingValue = 0
    big = syntax == uid.ExplicitVRBigEndian
    if syntax == uid.RLELossless:
        header.PixelData = pixels.tobytes()
        header.compress(syntax, pixels, encoding_plugin="pydicom", generate_instance_uid=False)
    else:
        raw = pixels.astype(">u2" if big else "<u2").tobytes()
        header.PixelData = raw if body is None else encapsulate([body])
    header["PixelData"].VR = "OW" if body is None and syntax != uid.RLELossless else "OB"
    for keyword, value in elements.items():
        if value is None:
            delattr(header, keyword)
        else:
            setattr(header, keyword, value)
    file = io.BytesIO()
    header.save_as(file, enforce_file_format=True)
    return file.getvalue()


def nested(depth: int) -> bytes:
    """A DICOM file with a ViewCodeSequence in a ViewCodeSequence, `depth` deep."""
    whole = dicom(picture(np.random.default_rng(0)))
    pixels = whole.index(b"\xe0\x7f\x10\0OW")
    opening = b"\x54\0\x20\2SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return whole[:pixels] + opening * depth + closing * depth + whole[pixels:]


def _saved(pixels: np.ndarray, form: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def jpeg_2000(pixels: np.ndarray) -> bytes:
    """A bare codestream, as DICOM holds it."""
    return _saved(pixels, "JPEG2000", no_jp2=True, irreversible=False)


def table(rng: np.random.Generator, encoding: str = "utf-8") -> bytes:
    """A CSV of path, patient, label, birads, laterality and view."""
    words = ("BENIGN", "malignant", "Größe", "1", "", "4a", "N/A")
    rows = [
        f'film{k}.png;p{k // 2};"{words[rng.integers(len(words))]}";{rng.integers(0, 7)};{"LR"[k % 2]};CC'
        for k in range(12)
    ]
    return ("path;patient;label;birads;laterality;view\r\n" + "\r\n".join(rows)).encode(encoding)


def workbook() -> bytes:
    """A small .xlsx."""
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    texts = "".join(f"<si><t>{word}</t></si>" for word in ("ID1", "LeftRight", "classification", "Malignant"))
    cells = '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c><c r="C1" t="s"><v>2</v></c></row>'
    cells += "".join(
        f'<row r="{k}"><c r="A{k}"><v>{k}</v></c><c r="C{k}" t="s"><v>3</v></c></row>' for k in range(2, 9)
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", f"<sst {main}>{texts}</sst>")
        archive.writestr(
            "xl/worksheets/sheet1.xml", f"<worksheet {main}><sheetData>{cells}</sheetData></worksheet>"
        )
    return file.getvalue()


def contours() -> bytes:
    """An INbreast file of contours."""
    point = "".join(f"<string>({k}.5, {2 * k}.25)</string>" for k in range(9))
    region = f"<dict><key>Name</key><string>Mass</string><key>Point_px</key><array>{point}</array></dict>"
    body = f"<dict><key>Images</key><array><dict><key>ROIs</key><array>{region}</array></dict></array></dict>"
    return f'<?xml version="1.0"?><plist version="1.0">{body}</plist>'.encode()


WHOLE: dict[str, Callable[[np.random.Generator], bytes]] = {
    "explicit.dcm": lambda rng: dicom(picture(rng)),
    "implicit.dcm": lambda rng: dicom(picture(rng), uid.ImplicitVRLittleEndian),
    "big.dcm": lambda rng: dicom(picture(rng), uid.ExplicitVRBigEndian),
    "deflated.dcm": lambda rng: dicom(picture(rng), uid.DeflatedExplicitVRLittleEndian),
    "rle.dcm": lambda rng: dicom(picture(rng), uid.RLELossless),
    "jpeg2000.dcm": lambda rng: dicom(picture(rng), uid.JPEG2000Lossless, jpeg_2000(picture(rng))),
    "jpeg.dcm": lambda rng: dicom(
        picture(rng),
        uid.JPEGBaseline8Bit,
        _saved((picture(rng) >> 4).astype(np.uint8), "JPEG"),
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelPaddingValue=None,
    ),
    "deep.png": lambda rng: _saved(picture(rng), "PNG"),
    "flat.png": lambda rng: _saved((picture(rng) >> 4).astype(np.uint8), "PNG"),
    "raw.tiff": lambda rng: _saved(picture(rng), "TIFF"),
    "deflate.tiff": lambda rng: _saved(picture(rng), "TIFF", compression="tiff_adobe_deflate"),
    "lzw.tiff": lambda rng: _saved(picture(rng), "TIFF", compression="tiff_lzw"),
    "binary.pgm": lambda rng: b"P5\n32 40\n4095\n" + picture(rng).astype(">u2").tobytes(),
    "text.pgm": lambda rng: b"P2\n# x\n32 40\n4095\n" + " ".join(map(str, picture(rng).ravel())).encode(),
    "grey.jpg": lambda rng: _saved((picture(rng) >> 4).astype(np.uint8), "JPEG"),
    "labels.csv": table,
    "wide.csv": lambda rng: table(rng, "utf-16"),
    "western.csv": lambda rng: table(rng, "cp1252"),
    "labels.xlsx": lambda rng: workbook(),
    "contours.xml": lambda rng: contours(),
}
"""Name of a kind of file -> a whole one. What a name ends in tells how it is read."""


def _png(rows: int, columns: int, body: bytes) -> bytes:
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 16, 0, 0, 0, 0)),
        (b"IDAT", body),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts
    )


def _deflated_zeros(megabytes: int) -> bytes:
    """Raw deflate of so many megabytes of zeros: one packed block, repeated, since packing them all takes seconds."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * megabytes + packer.flush()


def _zeros(megabytes: int) -> bytes:
    """The same as a zlib stream; its checksum is wrong, and so far nobody should read."""
    return b"\x78\xda" + _deflated_zeros(megabytes) + bytes(4)


def _deflated_bomb() -> bytes:
    """A deflated DICOM file of a gigabyte of zeros."""
    start = dicom(picture(np.random.default_rng(0)), uid.DeflatedExplicitVRLittleEndian)
    return start[: 144 + int.from_bytes(start[140:144], "little")] + _deflated_zeros(1024)


def _entities() -> bytes:
    """The billion laughs, as a plist."""
    rules = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY l0 "lol">{rules}]><plist><string>&l9;</string></plist>'.encode()


def _packed_bomb() -> bytes:
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as part,
    ):
        for _ in range(300):
            part.write(bytes(1 << 20))
    return file.getvalue()


MADE: dict[str, Callable[[], bytes]] = {
    "declared 65535 x 65535.dcm": lambda: dicom(picture(np.random.default_rng(0)), Rows=65535, Columns=65535),
    "declared, jpeg 2000.dcm": lambda: dicom(
        picture(np.random.default_rng(0)),
        uid.JPEG2000Lossless,
        jpeg_2000(picture(np.random.default_rng(0))),
        Rows=60000,
        Columns=60000,
    ),
    "nested 500.dcm": lambda: nested(500),
    "deflated bomb.dcm": _deflated_bomb,
    "bomb.png": lambda: _png(9000, 9000, _zeros(1024)),
    "declared.png": lambda: _png(2**31 - 1, 2**31 - 1, _zeros(1)),
    "declared.pgm": lambda: b"P5\n99999999 99999999\n65535\n" + bytes(64),
    "digits.pgm": lambda: b"P2\n" + b"9" * 1_000_000 + b" 1\n255\n1",
    "entities.xml": _entities,
    "nested.xml": lambda: b"<plist>" + b"<array>" * 100_000 + b"</array>" * 100_000 + b"</plist>",
    "bomb.xlsx": _packed_bomb,
    "entities.xlsx": lambda: _entities(),
    "long field.csv": lambda: b"path,patient,label\n" + b"x" * 5_000_000 + b",1,1\n",
    "one quote.csv": lambda: b'path,patient,label\n"' + b"a,b\n" * 1_000_000,
    "many columns.csv": lambda: b",".join(b"c%d" % k for k in range(200_000)) + b"\n1,2,3\n",
}
"""What no accident makes: huge declared sizes, bombs, nesting, entities."""
