"""The files of a phantom set are DICOM, whole, and the same however they are made."""

import csv
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from mammojax.errors import UserError
from mammojax.phantom.dicom import malignant_patients, write_phantom_dicom, write_phantom_set
from mammojax.phantom.screening_set import (
    phantom_patient,
)
from tests.phantom.views import MALIGNANT_KINDS, SMALL


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("set")
    write_phantom_set(directory, patients=10, prevalence=0.3, seed=2, difficulty=0.4, **SMALL)
    return directory


def rows_of(directory: Path) -> list[dict]:
    with (directory / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def content(directory: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()
    }


def test_files_hold_the_views_of_their_patients_whatever_the_transfer_syntax(written):
    malignant = malignant_patients(10, 0.3, 2)
    syntaxes = set()
    for k in range(10):
        for view in phantom_patient(2, k, malignant=k in malignant, difficulty=0.4, **SMALL):
            ds = pydicom.dcmread(written / f"P{k + 1:04d}" / f"{view.laterality}_{view.view}.dcm")
            assert np.array_equal(ds.pixel_array, view.pixels)
            assert (ds.BitsStored, ds.PhotometricInterpretation) == (view.bits, view.photometric)
            assert (ds.WindowCenter, ds.WindowWidth) == view.window
            syntaxes.add(ds.file_meta.TransferSyntaxUID.name)
    assert syntaxes == {"Explicit VR Little Endian", "RLE Lossless"}


def test_headers_say_what_a_mammogram_says(written):
    view_codes = {"CC": "399162004", "MLO": "399368009"}
    for row in rows_of(written):
        ds = pydicom.dcmread(written / row["file"])
        assert ds.Modality == "MG" and ds.PresentationIntentType == "FOR PRESENTATION"
        assert ds.SOPClassUID.name == "Digital Mammography X-Ray Image Storage - For Presentation"
        assert (ds.ImageLaterality, ds.ViewPosition) == (row["laterality"], row["view"])
        assert ds.ViewCodeSequence[0].CodeValue == view_codes[row["view"]]
        assert ds.PatientOrientation[0] == {"L": "A", "R": "P"}[row["laterality"]]
        assert ("F" in ds.PatientOrientation[1]) == (row["view"] == "MLO")
        assert list(ds.ImagerPixelSpacing) == [0.8, 0.8]  # 0.1 mm at 2048 rows
        assert str(ds.PatientName) == "PHANTOM^" + row["patient"][1:] and ds.PatientID == row["patient"]


def test_identifiers_are_valid_unique_and_shared_where_they_should_be(written):
    headers = [pydicom.dcmread(written / row["file"], stop_before_pixels=True) for row in rows_of(written)]
    assert len({ds.SOPInstanceUID for ds in headers}) == len(headers) == 40
    assert (
        len({(ds.PatientID, ds.StudyInstanceUID) for ds in headers})
        == len({ds.StudyInstanceUID for ds in headers})
        == 10
    )
    for ds in headers:
        assert ds.SOPInstanceUID.is_valid and ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID


def test_labels_count_the_stated_prevalence_and_name_every_lesion(written):
    rows = rows_of(written)
    assert len({row["patient"] for row in rows if row["label"] == "1"}) == 3
    assert sum(row["label"] == "1" for row in rows) == 6
    for row in rows:
        lesions = json.loads(row["lesions"])
        assert all(set(lesion) == {"row", "column", "radius", "kind"} for lesion in lesions)
        assert any(lesion["kind"] in MALIGNANT_KINDS for lesion in lesions) == (row["label"] == "1")


def test_processes_make_the_same_bytes_as_one(written, tmp_path):
    seen = []

    def progress(iterable, *, total, description):
        for item in iterable:
            seen.append((total, description))
            yield item

    wanted = {"patients": 10, "prevalence": 0.3, "seed": 2, "difficulty": 0.4, **SMALL}
    write_phantom_set(tmp_path, workers=2, progress=progress, **wanted)
    assert content(tmp_path) == content(written)
    assert seen == [(10, "phantoms")] * 10


def test_an_interrupted_set_is_completed_and_files_that_are_there_are_kept(written, tmp_path):
    def stop_after_three(iterable, **_):
        for number, item in enumerate(iterable):
            if number == 3:
                raise KeyboardInterrupt
            yield item

    wanted = {"patients": 10, "prevalence": 0.3, "seed": 2, "difficulty": 0.4, **SMALL}
    with pytest.raises(KeyboardInterrupt):
        write_phantom_set(tmp_path, progress=stop_after_three, **wanted)
    assert not (tmp_path / "labels.csv").exists()
    (tmp_path / "P0002" / "R_CC.dcm").unlink()
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.dcm")}
    assert 12 <= len(kept) < 40
    write_phantom_set(tmp_path, **wanted)
    assert content(tmp_path) == content(written)
    assert all(p.stat().st_mtime_ns == before for p, before in kept.items())


def test_a_patient_does_not_depend_on_how_many_others_there_are(written, tmp_path):
    sick = min(malignant_patients(10, 0.3, 2))
    view = phantom_patient(2, sick, malignant=True, difficulty=0.4, **SMALL)[3]
    write_phantom_dicom(view, tmp_path / "one.dcm", seed=2, patient=sick)
    assert (tmp_path / "one.dcm").read_bytes() == (written / f"P{sick + 1:04d}" / "R_MLO.dcm").read_bytes()


def test_a_folder_with_another_set_is_left_alone(written):
    before = content(written)
    with pytest.raises(UserError, match="choose another folder"):
        write_phantom_set(written, patients=10, prevalence=0.3, seed=3, difficulty=0.4, **SMALL)
    assert content(written) == before
