"""Phantoms as DICOM files: Digital Mammography X-Ray Image Storage - For Presentation (PS3.3 A.26, C.8.11).

The same arguments give the same bytes: identifiers derive from seed, patient and view.
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import (
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from mammojax.errors import UserError
from mammojax.images.reading.isolated import CRASHED, in_children
from mammojax.phantom.screening_set import PhantomView, phantom_layouts, phantom_patient, pixel_spacing
from mammojax.runs.files import read_json, write_json, writing
from mammojax.seeds import stream

LABELS, PARAMETERS = "labels.csv", "phantom.json"
COLUMNS = ("file", "patient", "laterality", "view", "label", "lesions")
VIEW_CODES = {
    "CC": Code("399162004", "SCT", "cranio-caudal"),
    "MLO": Code("399368009", "SCT", "medio-lateral oblique"),
}
ORIENTATION = {"LCC": ["A", "R"], "LMLO": ["A", "FR"], "RCC": ["P", "L"], "RMLO": ["P", "FL"]}
COMPRESSED_SHARE = 0.2  # of the patients have RLE Lossless files, the others explicit VR little endian


def write_phantom_dicom(view: PhantomView, path: Path, *, seed: int, patient: int) -> None:
    """Writes one view as a DICOM file, whole or not at all.

    seed, patient (0, 1, ...): what the view was made with; all identifiers derive from them. Patient 0 has
    the PatientID P0001 and the PatientName PHANTOM^0001. Raises UserError if the file cannot be written.
    """
    buffer = io.BytesIO()
    dataset = _dataset(view, seed, patient)
    if np.random.default_rng([stream(seed, "phantom", "syntax"), patient]).random() < COMPRESSED_SHARE:
        # pydicom's own encoder: another one might give other bytes on another machine
        dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    with writing(path) as file:
        file.write(buffer.getbuffer())


def write_phantom_set(
    directory: Path,
    *,
    patients: int,
    prevalence: float,
    seed: int,
    height: int = 2048,
    width: int = 1536,
    difficulty: float = 0.5,
    workers: int = 0,
    progress: Callable | None = None,
) -> None:
    """Writes a screening set: P0001/L_CC.dcm and so on, then labels.csv, the sign that the set is complete.

    round(prevalence * patients) of the patients, drawn from `seed`, have a malignant sign in one breast.
    Columns of labels.csv: file, patient, laterality, view, label (1: malignant sign in this image), lesions
    (JSON). workers: processes; 0 draws in this one. progress(iterable, total=, description=) is put around
    the patients.
    A set that was begun is continued: files that are there are kept.
    Raises UserError if the arguments make no set, or the directory holds a set of other arguments.
    """
    directory = Path(directory)
    if patients < 1 or not 0 <= prevalence <= 1:
        raise UserError(
            f"{patients} patients at prevalence {prevalence} were asked for; take 1 or more, and 0 to 1"
        )
    parameters = {
        "patients": patients,
        "prevalence": prevalence,
        "seed": seed,
        "height": height,
        "width": width,
        "difficulty": difficulty,
    }
    if (directory / PARAMETERS).exists():
        before = read_json(directory / PARAMETERS)
        if before != parameters:
            raise UserError(f"{directory} holds a phantom set made with {before}; choose another folder")
    else:
        write_json(directory / PARAMETERS, parameters)
    malignant = malignant_patients(patients, prevalence, seed)
    jobs = [(directory, seed, k, k in malignant, height, width, difficulty) for k in range(patients)]
    track = progress or (lambda iterable, **_: iterable)
    rows: dict[int, list[dict]] = {}
    for k, made in track(_run(jobs, workers), total=patients, description="phantoms"):
        rows[k] = made
    with writing(directory / LABELS, "w") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for k in range(patients):
            table.writerows(rows[k])


def malignant_patients(patients: int, prevalence: float, seed: int) -> frozenset[int]:
    """Which of the patients 0, 1, ... have a malignant sign: exactly round(prevalence * patients) of them."""
    order = np.random.default_rng(stream(seed, "phantom", "prevalence")).permutation(patients)
    return frozenset(order[: round(prevalence * patients)].tolist())


def _run(jobs: list[tuple], workers: int):
    if workers < 2:
        for job in jobs:
            yield job[2], _write_patient(*job)
        return
    for i, made in in_children(_write_patient, jobs, workers=workers):  # they end with this process
        if made == CRASHED:
            raise RuntimeError(
                f"the process that drew patient {jobs[i][2]} was killed; is there enough memory?"
            )
        yield jobs[i][2], made


def _write_patient(
    directory: Path, seed: int, patient: int, malignant: bool, height: int, width: int, difficulty: float
) -> list[dict]:
    """Writes the views that are not there yet; the rows of labels.csv of this patient."""
    name = f"P{patient + 1:04d}"
    layouts = phantom_layouts(seed, patient, malignant=malignant, height=height, width=width)
    files = [f"{name}/{layout.laterality}_{layout.view}.dcm" for layout in layouts]
    if not all((directory / file).exists() for file in files):
        views = phantom_patient(
            seed, patient, malignant=malignant, height=height, width=width, difficulty=difficulty
        )
        for file, view in zip(files, views):
            if not (directory / file).exists():
                write_phantom_dicom(view, directory / file, seed=seed, patient=patient)
    return [
        {
            "file": file,
            "patient": name,
            "laterality": layout.laterality,
            "view": layout.view,
            "label": int(layout.malignant),
            "lesions": json.dumps([asdict(lesion) for lesion in layout.lesions]),
        }
        for file, layout in zip(files, layouts)
    ]


def _dataset(view: PhantomView, seed: int, patient: int) -> Dataset:
    def uid(*names: str) -> str:
        return generate_uid(entropy_srcs=["mammojax phantom", str(seed), str(patient), *names])

    height, width = view.pixels.shape
    content = hashlib.sha256(view.pixels.tobytes()).hexdigest()
    instance = uid(view.laterality, view.view, content)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = Dataset()
    ds.file_meta = meta
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["DERIVED", "PRIMARY", ""]
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, instance
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid("study"), uid("series", view.laterality, view.view)
    ds.FrameOfReferenceUID = uid("frame")
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = "20000101"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = ds.AcquisitionTime = "120000"
    ds.Modality, ds.PresentationIntentType = "MG", "FOR PRESENTATION"
    ds.Manufacturer, ds.ManufacturerModelName = "mammojax", "synthetic phantom"
    ds.PatientName, ds.PatientID = f"PHANTOM^{patient + 1:04d}", f"P{patient + 1:04d}"
    ds.PatientBirthDate, ds.PatientSex, ds.ReferringPhysicianName, ds.AccessionNumber = "", "F", "", ""
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "1", "1", "1"
    ds.StudyDescription, ds.SeriesDescription = "Synthetic mammogram", f"{view.laterality} {view.view}"
    ds.BodyPartExamined, ds.OrganExposed = "BREAST", "BREAST"
    ds.BurnedInAnnotation = "NO"  # as scanners write it, whatever is burned in
    ds.Laterality = ds.ImageLaterality = view.laterality
    ds.ViewPosition = view.view
    ds.PatientOrientation = ORIENTATION[view.laterality + view.view]
    ds.ViewCodeSequence = [_code(VIEW_CODES[view.view])]
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = []
    ds.AnatomicRegionSequence = [_code(Code("76752008", "SCT", "Breast"))]
    ds.BreastImplantPresent, ds.PartialView = "NO", "NO"
    spacing = f"{pixel_spacing(height):.6g}"
    ds.ImagerPixelSpacing = [spacing, spacing]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, view.photometric
    ds.Rows, ds.Columns = height, width
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, view.bits, view.bits - 1, 0
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", 1 if _dark_is_low(view) else -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.PresentationLUTShape = "IDENTITY" if _dark_is_low(view) else "INVERSE"
    ds.LossyImageCompression = "00"
    ds.WindowCenter, ds.WindowWidth = (f"{value:.0f}" for value in view.window)
    ds.PixelData = view.pixels.astype("<u2").tobytes()
    return ds


def _dark_is_low(view: PhantomView) -> bool:
    return view.photometric == "MONOCHROME2"


def _code(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
        code.value,
        code.scheme_designator,
        code.meaning,
    )
    return item
