"""DICOM files: what is read exactly, what is rejected and why, and hostile files."""

import struct
import zlib

import numpy as np
import pytest
from pydicom import uid

from mammojax.images.mammogram import Rejected
from mammojax.images.reading.any_file import read_mammogram
from mammojax.images.reading.dicom import read_dicom

IDENTIFIERS = ("Doe", "Jane", "PAT-77", "19610203", "ACC-99")


def rejection(file, **options) -> str:
    with pytest.raises(Rejected) as caught:
        read_dicom(file, **options)
    text = str(caught.value)
    assert "\n" not in text and not any(secret in text for secret in IDENTIFIERS)
    return text


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ExplicitVRLittleEndian,
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
        uid.RLELossless,
    ],
)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_syntaxes_that_need_no_plug_in_are_exact(dicom_file, syntax, bits):
    pixels = (
        np.random.default_rng(3).integers(0, 2**bits, (33, 21)).astype(np.uint8 if bits == 8 else np.uint16)
    )
    mammogram = read_mammogram(dicom_file(pixels, bits=bits, syntax=syntax), "x")
    np.testing.assert_array_equal(mammogram.pixels, pixels)
    assert mammogram.rules[0] == f"decoded {syntax.name}"


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (uid.JPEGLossless, lambda codecs, p, bits: codecs.ljpeg_encode(p, bitspersample=bits)),
        (uid.JPEGLosslessSV1, lambda codecs, p, bits: codecs.ljpeg_encode(p, bitspersample=bits)),
        (uid.JPEGLSLossless, lambda codecs, p, bits: codecs.jpegls_encode(p)),
        (
            uid.JPEG2000Lossless,
            lambda codecs, p, bits: codecs.jpeg2k_encode(
                p, level=0, reversible=True, codecformat="J2K", bitspersample=bits
            ),
        ),
    ],
)
@pytest.mark.parametrize("bits", [8, 12, 14, 16])
def test_lossless_compressed_files_are_exact(dicom_file, syntax, encode, bits):
    codecs = pytest.importorskip("imagecodecs", reason="no encoder of compressed syntaxes")
    pytest.importorskip("gdcm", reason="python-gdcm is absent")
    pixels = (
        np.random.default_rng(4).integers(0, 2**bits, (64, 48)).astype(np.uint8 if bits == 8 else np.uint16)
    )
    body = encode(codecs, pixels, bits)
    np.testing.assert_array_equal(
        read_dicom(dicom_file(pixels, bits=bits, syntax=syntax, body=body)).pixels, pixels
    )


def test_compressed_pixels_of_unknown_syntax_are_not_called_truncated(dicom_file, stored):
    rle = dicom_file(stored, syntax=uid.RLELossless)
    for wrong in (
        rle[rle.index(b"\x08\x00\x16\x00") :],
        rle.replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.1\0"),
    ):
        assert "TransferSyntaxUID is absent or wrong" in rejection(wrong)


def test_a_file_without_preamble_is_read(dicom_file, stored):
    for syntax in (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian):
        mammogram = read_mammogram(dicom_file(stored, syntax=syntax, preamble=False), "no suffix")
        np.testing.assert_array_equal(mammogram.pixels, stored)


@pytest.mark.parametrize(
    ("value", "scheme"), [("399163009", "SCT"), ("R-102D6", "SNM3"), ("399055006", "SCT"), ("R-102D7", "SRT")]
)
def test_magnification_and_spot_views_are_rejected(dicom_file, stored, code, value, scheme):
    for elements in (
        {"ViewCodeSequence": [code("399162004", "SCT", ViewModifierCodeSequence=[code(value, scheme)])]},
        {"ViewModifierCodeSequence": [code(value, scheme)]},
    ):
        assert "magnification" in (text := rejection(dicom_file(stored, **elements))) or "spot" in text


@pytest.mark.parametrize(
    "elements",
    [
        {"SeriesDescription": "R CC MAG"},
        {"SeriesDescription": "specimen"},
        {"SeriesDescription": "L spot compression"},
        {"SeriesDescription": "L CC Tomosynthesis Projection"},
        {"SeriesDescription": "cropped images"},
        {"SeriesDescription": "ROI mask images"},
        {"EstimatedRadiographicMagnificationFactor": "1.8"},
    ],
)
def test_views_that_are_no_whole_mammogram_by_their_description_are_rejected(dicom_file, stored, elements):
    assert "no whole mammogram" in rejection(dicom_file(stored, **elements))


def test_a_specimen_code_is_rejected(dicom_file, stored, code):
    assert "specimen" in rejection(dicom_file(stored, ViewCodeSequence=[code("127457009", "SCT")]))


def test_implants_burned_in_text_and_eklund_views_are_kept_with_warnings(dicom_file, stored, code):
    modifier = code("399209000", "SCT")
    view = code("399162004", "SCT", ViewModifierCodeSequence=[modifier])
    mammogram = read_dicom(
        dicom_file(stored, BreastImplantPresent="YES", BurnedInAnnotation="YES", ViewCodeSequence=[view])
    )
    assert mammogram.view == "CC"
    assert set(mammogram.warnings) == {
        "breast implant present",
        "burned-in annotation declared",
        "view modifier: implant displaced",
    }


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"Modality": "CT"}, "modality is CT"),
        ({"Modality": None, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "modality is not given"),
        ({"Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "modality is CT"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3"}, "tomosynthesis"),
        ({"NumberOfFrames": 50}, "50 frames"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "3 samples"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR"),
        ({"Rows": 0}, "0 rows"),
        ({"Rows": None}, "0 rows"),
        ({"Rows": 60000, "Columns": 60000}, "more than the limit"),
        ({"Rows": 4000}, "truncated"),
    ],
)
def test_files_that_cannot_be_used_are_rejected_with_the_reason(dicom_file, stored, elements, reason):
    assert reason in rejection(dicom_file(stored, **elements))


def test_a_secondary_capture_is_accepted_and_flagged(dicom_file, stored):
    mammogram = read_dicom(dicom_file(stored, Modality="OT", SOPClassUID="1.2.840.10008.5.1.4.1.1.7"))
    assert "modality is OT" in mammogram.warnings[0]


def test_multi_frame_files_are_rejected(dicom_file, stored):
    assert "multi-frame" in rejection(dicom_file(np.stack([stored] * 3)))


def test_a_constant_picture_and_a_mask_are_rejected(dicom_file):
    pixels = np.full((20, 20), 700, np.uint16)
    assert "constant" in rejection(dicom_file(pixels))
    pixels[5:9] = 3000
    assert "mask" in rejection(dicom_file(pixels))
    pixels[9:12] = 100  # three values, of which one is padding
    assert "mask" in rejection(dicom_file(pixels, PixelPaddingValue=100))


def test_a_picture_that_its_own_window_makes_constant_is_rejected(dicom_file, stored):
    assert "VOI" in rejection(dicom_file(stored, WindowCenter=60000, WindowWidth=10))


def test_a_giant_declared_size_is_rejected_without_decoding(dicom_file, stored, monkeypatch):
    monkeypatch.setattr("mammojax.images.reading.dicom.pixel_array", lambda *a, **k: pytest.fail("decoded"))
    assert "limit of 1000 pixels" in rejection(dicom_file(stored, syntax=uid.RLELossless), max_pixels=1000)


def test_a_compressed_picture_larger_than_its_header_says_is_rejected_before_decoding(dicom_file, stored):
    start = b"\xff\xd8\xff\xc3" + struct.pack(">HBHHB", 11, 16, 60000, 60000, 1) + b"\1\x11\0\xff\xd9"
    assert "more than the limit" in rejection(dicom_file(stored, syntax=uid.JPEGLosslessSV1, body=start))
    start = b"\xff\xd8\xff\xc3" + struct.pack(">HBHHB", 11, 16, 41, 30, 1) + b"\1\x11\0\xff\xd9"
    assert "41 x 30" in rejection(dicom_file(stored, syntax=uid.JPEGLosslessSV1, body=start))
    start = (
        b"\xff\x4f\xff\x51"
        + struct.pack(">HH8IH", 41, 0, 60000, 60000, 0, 0, 60000, 60000, 0, 0, 1)
        + b"\xff\xd9"
    )
    assert "more than the limit" in rejection(dicom_file(stored, syntax=uid.JPEG2000Lossless, body=start))


def test_a_deflated_bomb_is_rejected_before_it_is_inflated(dicom_file, stored):
    file = dicom_file(stored, syntax=uid.DeflatedExplicitVRLittleEndian)
    end = 144 + int.from_bytes(file[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = file[:end] + packer.compress(bytes(40_000_000)) + packer.flush()
    assert "when inflated" in rejection(bomb, max_pixels=10_000)


def test_a_syntax_without_decoder_names_the_plug_in(dicom_file, stored, monkeypatch):
    class Missing:
        is_available = False

    monkeypatch.setattr("mammojax.images.reading.dicom.get_decoder", lambda syntax: Missing())
    for syntax, plug_in in (
        (uid.JPEGLSLossless, "python-gdcm"),
        (uid.HTJ2KLossless, "pylibjpeg-openjpeg"),
        (uid.JPEGExtended12Bit, "pylibjpeg-libjpeg"),
    ):
        assert f"install {plug_in}" in (
            text := rejection(dicom_file(stored, syntax=syntax, body=b"\xff\xd8"))
        ) or (plug_in in text)


def test_12_bit_lossy_jpeg_is_rejected_naming_the_plug_in(dicom_file, stored):
    start = b"\xff\xd8\xff\xc1" + struct.pack(">HBHHB", 11, 12, 40, 30, 1) + b"\1\x11\0\xff\xd9"
    assert "pylibjpeg-libjpeg" in rejection(dicom_file(stored, syntax=uid.JPEGExtended12Bit, body=start))


def test_a_video_syntax_is_rejected(dicom_file, stored):
    assert "not supported" in rejection(dicom_file(stored, syntax=uid.MPEG2MPML, body=b"\0\0"))


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ExplicitVRLittleEndian,
        uid.ImplicitVRLittleEndian,
        uid.RLELossless,
        uid.DeflatedExplicitVRLittleEndian,
    ],
)
def test_a_truncated_file_is_rejected_wherever_it_ends(dicom_file, stored, syntax):
    file = dicom_file(stored, syntax=syntax, SeriesDescription="screening")
    for end in {*range(132, len(file) - 140, 41), len(file) - 140}:
        rejection(file[:end])


def test_a_truncated_compressed_file_is_rejected(dicom_file, stored):
    codecs = pytest.importorskip("imagecodecs", reason="no encoder of compressed syntaxes")
    body = codecs.jpegls_encode(stored)
    assert "end marker" in rejection(
        dicom_file(stored, syntax=uid.JPEGLSLossless, body=body[: len(body) // 2])
    )
    file = dicom_file(stored, syntax=uid.JPEGLSLossless, body=body)
    rejection(file[: len(file) - len(body) // 2])


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_file_gives_a_mammogram_or_a_rejection_and_nothing_else(
    dicom_file, lut, code, stored, seed, capfd
):
    rng = np.random.default_rng(seed)
    file = dicom_file(
        stored,
        WindowCenter=[2000, 100],
        WindowWidth=[400, 50],
        VOILUTSequence=[lut(np.arange(4096), 0, 12)],
        ViewCodeSequence=[code("399162004", "SCT")],
        PixelSpacing=[0.07, 0.07],
        PixelPaddingValue=3,
        PatientOrientation=["A", "R"],
        syntax=[uid.ExplicitVRLittleEndian, uid.RLELossless][seed % 2],
    )
    header = len(file) - stored.nbytes
    for _ in range(25):
        damaged = bytearray(file)
        for position in rng.integers(0, header, 6):
            damaged[position] = rng.integers(0, 256)
        try:
            mammogram = read_mammogram(bytes(damaged), "x.dcm", max_pixels=10**6)
        except Rejected as reason:
            assert not any(secret in str(reason) for secret in IDENTIFIERS)
        else:
            assert mammogram.pixels.max() < 2**mammogram.bits
            assert not any(secret in repr(mammogram) for secret in IDENTIFIERS)
    printed = "".join(capfd.readouterr())
    assert not any(secret in printed for secret in IDENTIFIERS)
