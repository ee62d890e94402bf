"""Headers by many hands: what a picture needs must be right, the rest is left out with a warning, no text is quoted."""

import io

import numpy as np
import pydicom
import pytest
from pydicom import uid

from mammojax.images.mammogram import Rejected
from mammojax.images.reading.dicom import read_dicom
from mammojax.images.reading.elements import _NEEDED, _USEFUL

SECRET = "Doe^Jane\n\x1b[31m\tACC-99"


def with_text(file: bytes, keyword: str, written: str, instead: bytes) -> bytes:
    """The file with the text of one element replaced: pydicom does not write malformed numbers."""
    header = pydicom.dcmread(io.BytesIO(file))
    setattr(header, keyword, written)
    out = io.BytesIO()
    pydicom.dcmwrite(out, header, enforce_file_format=True)
    assert out.getvalue().count(written.encode()) == 1 and len(written) == len(instead)
    return out.getvalue().replace(written.encode(), instead)


def with_element(file: bytes, keyword: str, vr: str, value) -> bytes:
    """The file with one element of any value representation."""
    header = pydicom.dcmread(io.BytesIO(file))
    tag = pydicom.datadict.tag_for_keyword(keyword)
    header.pop(tag, None)
    header.add_new(tag, vr, value)
    out = io.BytesIO()
    with pydicom.config.disable_value_validation():
        pydicom.dcmwrite(out, header, enforce_file_format=True)
    return out.getvalue()


def test_a_decimal_comma_is_a_point(dicom_file, stored):
    plain = dicom_file(stored, RescaleIntercept="0")
    mammogram = read_dicom(with_text(plain, "RescaleSlope", "-1.2500", b"-1,2500"))
    np.testing.assert_array_equal(mammogram.pixels, 4095 - stored.astype(int))
    assert mammogram.warnings == ("RescaleSlope has a decimal comma, which was read as a point",)
    assert (
        read_dicom(with_text(plain, "EstimatedRadiographicMagnificationFactor", "1.07", b"1,07")).bits == 12
    )
    with pytest.raises(Rejected, match=r"magnification by 1\.87"):
        read_dicom(with_text(plain, "EstimatedRadiographicMagnificationFactor", "1.87", b"1,87"))


@pytest.mark.parametrize(
    ("keyword", "written"),
    [
        ("EstimatedRadiographicMagnificationFactor", "1.0712"),
        ("WindowCenter", "2048.1"),
        ("NominalScannedPixelSpacing", "0.0501"),
    ],
)
def test_malformed_text_that_no_picture_needs_is_left_out_and_named(dicom_file, stored, keyword, written):
    file = with_text(dicom_file(stored), keyword, written, b"1,2.x;")
    mammogram = read_dicom(file)
    np.testing.assert_array_equal(mammogram.pixels, stored)
    assert mammogram.warnings == (f"{keyword} is malformed and was ignored",)


def test_malformed_text_that_changes_the_pixels_is_a_rejection_that_names_the_element(dicom_file, stored):
    with pytest.raises(Rejected, match="RescaleSlope cannot be read"):
        read_dicom(with_text(dicom_file(stored), "RescaleSlope", "1.25", b"1.2x"))


def test_half_a_number_is_left_out(dicom_file, stored):
    file = dicom_file(stored, PixelPaddingValue=0x4241)
    tag, number = b"\x28\0\x20\1US\2\0", b"AB"
    assert file.count(tag + number) == 1
    mammogram = read_dicom(file.replace(tag + number, tag[:-2] + b"\1\0" + number[:1]))
    np.testing.assert_array_equal(mammogram.pixels, stored)
    assert mammogram.warnings == ("PixelPaddingValue is malformed and was ignored",)


@pytest.mark.parametrize("keyword", ["Rows", "BitsStored", "NumberOfFrames", "RescaleSlope"])
def test_text_for_a_number_that_is_needed_is_a_rejection(dicom_file, stored, keyword):
    with pytest.raises(Rejected, match=f"{keyword} cannot be read"):
        read_dicom(with_element(dicom_file(stored), keyword, "LO", "many"))


def test_a_sequence_that_is_none_is_left_out(dicom_file, stored):
    mammogram = read_dicom(
        with_element(dicom_file(stored, ViewPosition="CC"), "ViewCodeSequence", "LO", "R-10242")
    )
    assert mammogram.view == "CC" and mammogram.warnings == ("ViewCodeSequence is malformed and was ignored",)


@pytest.mark.parametrize("word", ["TOMO", "SPOT", "Magnification"])
def test_the_name_of_a_protocol_makes_a_plain_view_no_other(dicom_file, stored, word):
    mammogram = read_dicom(dicom_file(stored, ProtocolName=f"Screening {word} R CC", ViewPosition="CC"))
    assert mammogram.view == "CC" and mammogram.laterality == "R"
    (warning,) = mammogram.warnings
    assert warning.startswith("ProtocolName says ") and "kept" in warning


@pytest.mark.parametrize(
    ("elements", "side", "view", "warnings"),
    [
        ({"ViewPosition": "RIGHT MLO"}, "R", "MLO", 0),
        ({"ViewPosition": "LCC"}, "L", "CC", 0),
        ({"ViewPosition": "RIGHT MLO", "ImageLaterality": "L"}, "L", "MLO", 1),
        ({"ImageLaterality": "Izquierda"}, "L", "", 0),
        ({"Laterality": "DROITE"}, "R", "", 0),
        ({"SeriesDescription": "Mamma rechts MLO"}, "R", "MLO", 0),
        ({"ImageLaterality": "X"}, "", "", 1),
        ({"ImageLaterality": "B"}, "", "", 0),
    ],
)
def test_a_side_is_found_wherever_and_in_whatever_language_it_is_said(
    dicom_file, stored, elements, side, view, warnings
):
    mammogram = read_dicom(dicom_file(stored, **elements))
    assert (mammogram.laterality, mammogram.view) == (side, view)
    assert len(mammogram.warnings) == warnings
    if warnings and side:
        assert mammogram.warnings == (
            "laterality: ImageLaterality says L, ViewPosition says R; L is believed",
        )


@pytest.mark.parametrize("keyword", sorted({*_NEEDED, *_USEFUL} - {"ModalityLUTSequence", "VOILUTSequence"}))
def test_no_text_of_a_header_gets_into_a_message_whatever_element_holds_it(dicom_file, stored, keyword):
    file = with_element(dicom_file(stored), keyword, "LO", SECRET)
    try:
        mammogram = read_dicom(file, name="x_L_CC.dcm")
    except Rejected as reason:
        told = str(reason)
    else:
        told = "|".join((*mammogram.warnings, *mammogram.rules, mammogram.laterality, mammogram.view))
    assert "Doe" not in told and "ACC" not in told and told.isprintable()


def test_a_transfer_syntax_that_is_a_name_is_not_quoted(dicom_file, stored):
    file = dicom_file(stored, syntax=uid.ExplicitVRLittleEndian)
    where = file.index(b"1.2.840.10008.1.2.1")
    file = file[:where] + b"1.Doe^Jane\nACC-99\x1b\0"[:19] + file[where + 19 :]
    with pytest.raises(Rejected) as caught:
        read_dicom(file)
    assert "Doe" not in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
@pytest.mark.parametrize("extra", [2, 200, 2400, 3000])
def test_zeros_after_native_pixels_are_no_pixels_and_more_pixels_than_declared_are_damage(
    dicom_file, stored, syntax, extra
):
    header = pydicom.dcmread(io.BytesIO(dicom_file(stored, syntax=syntax)))
    header.PixelData += bytes(extra)
    out = io.BytesIO()
    pydicom.dcmwrite(out, header, enforce_file_format=True)
    np.testing.assert_array_equal(read_dicom(out.getvalue()).pixels, stored)
    header.PixelData = header.PixelData[:-1] + b"\1"
    out = io.BytesIO()
    pydicom.dcmwrite(out, header, enforce_file_format=True)
    with pytest.raises(Rejected, match="more pixels than declared"):
        read_dicom(out.getvalue())


@pytest.mark.parametrize("how", ["inside the fragment", "a fragment of its own"])
@pytest.mark.parametrize("name", ["ljpeg", "jpegls", "jpeg2k", "rle"])
def test_zeros_after_a_compressed_frame_are_no_truncation(dicom_file, stored, name, how):
    if name == "rle":
        syntax, header = (
            uid.RLELossless,
            pydicom.dcmread(io.BytesIO(dicom_file(stored, syntax=uid.RLELossless))),
        )
        body = next(pydicom.encaps.generate_frames(header.PixelData, number_of_frames=1))
    else:
        codecs = pytest.importorskip("imagecodecs", reason="no encoder of compressed syntaxes")
        pytest.importorskip("gdcm", reason="python-gdcm is absent")
        syntax, body = {
            "ljpeg": lambda: (uid.JPEGLosslessSV1, codecs.ljpeg_encode(stored, bitspersample=12)),
            "jpegls": lambda: (uid.JPEGLSLossless, codecs.jpegls_encode(stored)),
            "jpeg2k": lambda: (
                uid.JPEG2000Lossless,
                codecs.jpeg2k_encode(stored, level=0, reversible=True, codecformat="J2K", bitspersample=12),
            ),
        }[name]()
    body += bytes(len(body) % 2)
    file = dicom_file(stored, syntax=syntax, body=body + bytes(200))
    if how == "a fragment of its own":
        header = pydicom.dcmread(io.BytesIO(file))
        item = b"\xfe\xff\x00\xe0"
        parts = (b"", body, bytes(200))
        header.PixelData = b"".join(item + len(p).to_bytes(4, "little") + p for p in parts)
        header["PixelData"].is_undefined_length = True
        out = io.BytesIO()
        pydicom.dcmwrite(out, header, enforce_file_format=True)
        file = out.getvalue()
    np.testing.assert_array_equal(read_dicom(file).pixels, stored)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, which writes what it would not
@pytest.mark.parametrize("blanks", ["{} ", " {}", "\0{}", "{} \0", " {}\r\n"])
def test_blanks_and_small_letters_are_no_part_of_a_code_string(dicom_file, stored, blanks):
    """PS3.5 6.2. A negative that is taken for a positive would be no error but wrong pixels."""
    for elements in (
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PresentationIntentType": "FOR PROCESSING"},
        {"WindowCenter": 2000, "WindowWidth": 3000, "VOILUTFunction": "SIGMOID"},
        {"ImageLaterality": "R", "ViewPosition": "MLO"},
    ):
        plain, odd = (
            read_dicom(
                dicom_file(stored, **{k: change(v) if isinstance(v, str) else v for k, v in elements.items()})
            )
            for change in (str, lambda text: blanks.format(text.lower()))
        )
        np.testing.assert_array_equal(odd.pixels, plain.pixels)
        assert (odd.rules, odd.warnings) == (plain.rules, plain.warnings)
        assert (odd.laterality, odd.view) == (plain.laterality, plain.view)
