"""One file to a finished crop in the work folder, or the reason why there is none; runs in a worker.

Pixels are written first and the outcome last (`outcome.py`). What is there already is not done again, so a killed
preparation goes on where it was.
"""

import hashlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from mammojax.datasets.acquisition import acquisition
from mammojax.datasets.outcome import Outcome, outcome_path, pixels_path, read_outcome, write_outcome
from mammojax.datasets.patients import identity, is_placeholder
from mammojax.datasets.record import Record, Source
from mammojax.datasets.schema import tissue_share
from mammojax.errors import UserError
from mammojax.images.breast import Crop, crop_breast
from mammojax.images.mammogram import Mammogram, Rejected
from mammojax.images.reading.any_file import read_mammogram
from mammojax.images.views import believed
from mammojax.runs.files import writing

_NO_PATIENT = (
    "no patient: the table names none, the header none or a placeholder; folds could not be patient-wise"
)
_SMALL = 384  # pixels of the longer side of the copy for the contact sheets, at most


def crop_file(
    source: Source,
    number: int,
    sha256: str,
    truth: int,
    *,
    work: Path,
    salt: str,
    margin: float,
    for_processing: str,
    depth: int,
) -> str:
    """Decodes and crops one file into `work`; the reason if it is rejected, else "".

    number, sha256, label (truth): of the record; see `Record`. salt: of the hashes of identifiers. margin: see
    `crop_breast`. for_processing, depth: see `read_mammogram`.
    Raises UserError if the file is not the one whose sha256 was taken.
    """
    done = outcome_path(work, source.file)
    if done.is_file():
        return read_outcome(work, source.file).reason
    try:
        data = source.path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise UserError(f"{source.file} was changed while the set was prepared; start again")
        mammogram = read_mammogram(data, source.file, for_processing=for_processing, depth=depth)
        header = "" if is_placeholder(mammogram.patient) else identity(mammogram.patient)
        patient = source.patient or header
        if not patient:
            raise Rejected(_NO_PATIENT)
        laterality, _, sides = believed("laterality", _claims(source.laterality, mammogram.laterality))
        view, _, views = believed("view", _claims(source.view, mammogram.view))
        source, misplaced = _fitting(source, mammogram.pixels.shape)
        crop = crop_breast(replace(mammogram, laterality=laterality), margin=margin)
    except Rejected as reason:
        outcome = Outcome(None, str(reason))
    except (MemoryError, OSError) as error:
        outcome = Outcome(None, f"cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}")
    else:
        record = Record(
            record=source.file,
            number=number,
            patient=hashed(salt, patient),
            breast=hashed(salt, patient, source.breast or laterality or source.file),
            breast_stated=bool(source.breast),
            label=truth,
            laterality=laterality,
            view=view,
            bits=crop.bits,
            height=crop.image.shape[0],
            width=crop.image.shape[1],
            spacing=source.spacing or mammogram.spacing,
            sha256=sha256,
            geometry=crop.geometry.to_json(),
            box=(crop.box.top, crop.box.left, crop.box.height, crop.box.width),
            rules=tuple(mammogram.rules),
            warnings=(*source.warnings, *misplaced, *sides, *views, *mammogram.warnings, *crop.warnings),
        )
        step, small, inside = _reduced(mammogram, crop)
        film = acquisition(mammogram, small, inside, device=source.device, warnings=record.warnings)
        outcome = Outcome(
            record,
            patient_from="table" if source.patient else "header",
            header_patient=hashed(salt, header) if header else "",
            lesions=source.lesions,
            acquisition=asdict(film),
        )
        _write_pixels(pixels_path(work, source.file), crop, small, mammogram.bits, inside, step)
    write_outcome(work, source.file, outcome)
    return outcome.reason


def hashed(salt: str, *identifiers: str) -> str:
    """Sixteen hex digits that stand for an identifier and cannot be turned back without the salt."""
    text = "\0".join((salt, *identifiers))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _claims(table: str, header: str) -> tuple[tuple[str, str], ...]:
    return ("the table", table), ("the file", header)


def _fitting(source: Source, shape: tuple[int, int]) -> tuple[Source, tuple[str, ...]]:
    """(what is said of a picture of this shape, warnings): spacing and lesions only where they can be of this picture."""
    if source.shape not in (None, shape):
        rows, columns = source.shape
        warning = (
            f"the picture has {shape[0]} x {shape[1]} pixels, {rows} x {columns} are published: another scale, of which "
            "spacing and lesions are not known"
        )
        return replace(source, spacing=None, lesions=()), (warning,)
    inside = tuple(
        lesion
        for lesion in source.lesions
        if -0.5 <= lesion["row"] < shape[0] and -0.5 <= lesion["column"] < shape[1]
    )
    outside = len(source.lesions) - len(inside)
    if not outside:
        return source, ()
    return replace(source, lesions=inside), (
        f"{outside} annotated lesions lie outside the picture and are left out",
    )


def _reduced(mammogram: Mammogram, crop: Crop) -> tuple[int, np.ndarray, np.ndarray]:
    """(step, every step-th pixel of the whole picture, bool of the same shape: the breast there)."""
    step = max(1, -(-max(mammogram.pixels.shape) // _SMALL))
    inside = np.zeros(mammogram.pixels.shape, bool)
    inside[crop.box.slices] = crop.mask[:, ::-1] if crop.flipped else crop.mask
    return step, mammogram.pixels[::step, ::step], inside[::step, ::step]


def _write_pixels(
    path: Path, crop: Crop, small: np.ndarray, bits: int, inside: np.ndarray, step: int
) -> None:
    box = np.asarray([crop.box.top, crop.box.left, crop.box.height, crop.box.width]) // step
    with writing(path) as file:
        np.savez(
            file,
            image=crop.image,
            tissue=tissue_share(crop.mask),
            small=small,
            small_bits=bits,
            small_box=box,
            small_mask=inside,
        )
