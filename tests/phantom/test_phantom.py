"""The phantom hides nothing but the sign, its tissue and signs are what they claim, its files are DICOM."""

import csv
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy.ndimage import gaussian_filter

from mammojax.errors import UserError
from mammojax.phantom.dicom import malignant_patients, write_phantom_dicom, write_phantom_set
from mammojax.phantom.screening_set import (
    CALCIFICATIONS,
    ROUND,
    SPICULATED,
    phantom_layouts,
    phantom_patient,
    pixel_spacing,
)

SMALL = {"height": 256, "width": 192}
MEDIUM = {"height": 512, "width": 384}
MALIGNANT_KINDS = {SPICULATED, CALCIFICATIONS}


def light(view) -> np.ndarray:
    """Attenuation bright, 0 to 1, whatever the storage."""
    scaled = view.pixels / (2.0**view.bits - 1)
    return 1 - scaled if view.photometric == "MONOCHROME1" else scaled


def auc(labels, scores) -> float:
    """Share of pairs ranked right, ties half, by counting all pairs."""
    labels, scores = np.asarray(labels), np.asarray(scores, float)
    difference = scores[labels == 1][:, None] - scores[labels == 0]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def null_deviation(labels) -> float:
    """Standard deviation of the AUC of a score without information (Hanley and McNeil 1982)."""
    positives = int(np.sum(labels))
    negatives = len(labels) - positives
    return np.sqrt((positives + negatives + 1) / (12 * positives * negatives))


@pytest.fixture(scope="module")
def screening():
    """120 small patients at the middle difficulty, every second one malignant."""
    return [view for k in range(120) for view in phantom_patient(7, k, malignant=k % 2 == 0, **SMALL)]


# ------------------------------------------------------------------------------------------------- truth


def test_the_same_arguments_give_the_same_bits_and_other_patients_or_seeds_do_not():
    once, again, other, reseeded = (
        phantom_patient(seed, k, malignant=True, **SMALL) for seed, k in ((3, 8), (3, 8), (3, 9), (4, 8))
    )
    for a, b, c, d in zip(once, again, other, reseeded):
        assert a.pixels.tobytes() == b.pixels.tobytes() and a.lesions == b.lesions and a.window == b.window
        assert a.pixels.tobytes() not in (c.pixels.tobytes(), d.pixels.tobytes())


def test_the_malignant_and_the_healthy_version_of_a_patient_differ_by_the_sign_and_nothing_else():
    for k in range(12):
        sick = phantom_patient(5, k, malignant=True, difficulty=0.2, **MEDIUM)
        healthy = phantom_patient(5, k, malignant=False, difficulty=0.2, **MEDIUM)
        for a, b in zip(sick, healthy):
            assert (a.bits, a.photometric, a.window) == (b.bits, b.photometric, b.window)
            assert [lesion for lesion in a.lesions if lesion.kind == ROUND] == list(b.lesions)
            assert np.array_equal(a.breast_mask, b.breast_mask)
            rows, columns = np.nonzero(a.pixels != b.pixels)
            assert (len(rows) > 0) == (a.label == 1)
            signs = [lesion for lesion in a.lesions if lesion.kind in MALIGNANT_KINDS]
            for sign in signs[:1]:  # a mass with calcifications has one centre
                # spicules reach to 2.4 radii; the patch that is drawn ends at 2.6, in its corners at 3.7
                assert np.hypot(rows - sign.row, columns - sign.column).max() < 3.7 * sign.radius + 5


def test_one_breast_of_a_malignant_patient_is_malignant_in_both_of_its_views():
    for k in range(20):
        views = phantom_layouts(1, k, malignant=True, **SMALL)
        positive = [(v.laterality, v.view) for v in views if v.malignant]
        assert {view for _, view in positive} == {"CC", "MLO"} and len({side for side, _ in positive}) == 1
        for v in views:
            assert any(lesion.kind in MALIGNANT_KINDS for lesion in v.lesions) == v.malignant
        assert not any(v.malignant for v in phantom_layouts(1, k, malignant=False, **SMALL))


def test_both_sides_and_all_kinds_of_sign_occur():
    layouts = [v for k in range(40) for v in phantom_layouts(2, k, malignant=True, **SMALL) if v.malignant]
    assert {v.laterality for v in layouts} == {"L", "R"}
    kinds = [frozenset(lesion.kind for lesion in v.lesions) & MALIGNANT_KINDS for v in layouts]
    assert set(kinds) == {frozenset({SPICULATED}), frozenset({CALCIFICATIONS}), frozenset(MALIGNANT_KINDS)}


def test_lesions_lie_inside_the_breast_and_have_the_stated_size(screening):
    for view in screening:
        rows, columns = np.indices(view.pixels.shape)
        for lesion in view.lesions:
            assert 12 <= lesion.radius * 2048 / view.pixels.shape[0] <= 35.2
            inside = np.hypot(rows - lesion.row, columns - lesion.column) <= lesion.radius
            assert inside.any() and view.breast_mask[inside].all()


@pytest.mark.parametrize("width", [128, 307])
def test_narrow_and_wide_images_hold_whole_breasts_too(width):
    for k in range(6):
        for view in phantom_patient(6, k, malignant=True, height=256, width=width):
            nipple_side = view.breast_mask[:, -1 if view.laterality == "L" else 0]
            assert not nipple_side.any()  # air in front of the nipple
            assert 0.05 < view.breast_mask.mean() < 0.8
            for lesion in view.lesions:
                assert view.breast_mask[round(lesion.row), round(lesion.column)]


def test_a_patient_has_the_same_anatomy_at_every_resolution():
    small = phantom_patient(0, 4, malignant=True, **SMALL)
    medium = phantom_patient(0, 4, malignant=True, **MEDIUM)
    assert pixel_spacing(256) == 2 * pixel_spacing(512) == 0.8
    for a, b in zip(small, medium):
        # the same fraction of the image is breast; the outline of the small one is known to one of its pixels
        assert np.mean(a.breast_mask) == pytest.approx(np.mean(b.breast_mask), abs=0.01)
        for p, q in zip(a.lesions, b.lesions, strict=True):
            assert (p.row * 511 / 255, p.column * 511 / 255, p.radius * 2) == pytest.approx(
                (q.row, q.column, q.radius),
                abs=1.5,  # half a pixel at the far edge and rounding of the width
            )


# ------------------------------------------------------------------------------------------------- pictures


def test_the_chest_wall_is_left_in_left_breasts_and_right_in_right_ones(screening):
    for view in screening:
        columns = np.nonzero(view.breast_mask.any(0))[0]
        gap_left, gap_right = columns[0], view.pixels.shape[1] - 1 - columns[-1]
        assert (gap_left < gap_right) == (view.laterality == "L")


def test_oblique_views_reach_the_upper_edge_with_a_bright_muscle_and_cranio_caudal_views_do_not(screening):
    for view in screening:
        assert view.breast_mask[0].any() == (view.view == "MLO")
        if view.view == "MLO":
            tissue, top = light(view), view.breast_mask[:8]
            canonical = tissue if view.laterality == "L" else tissue[:, ::-1]
            top = top if view.laterality == "L" else top[:, ::-1]
            inner = np.nonzero(top.all(0))[0]
            muscle = canonical[:8, inner[: len(inner) // 4]]
            assert muscle.mean() > np.median(tissue[view.breast_mask])


def test_values_fit_the_stored_bits_and_every_storage_occurs(screening):
    for view in screening:
        assert view.pixels.dtype == np.uint16 and view.pixels.max() < 2**view.bits
        centre, width = view.window
        assert 0 < centre < 2**view.bits and 1 < width <= 2**view.bits
        assert light(view)[view.breast_mask].mean() > np.median(light(view)[~view.breast_mask]) + 0.08
    assert {view.bits for view in screening} == {10, 12, 14, 16}
    assert {view.photometric for view in screening} == {"MONOCHROME1", "MONOCHROME2"}


def test_bright_lettering_stands_in_the_air_of_most_images_but_not_of_all(screening):
    # a third of full scale is far above film fog and noise in air
    lettered = np.mean([(light(view)[~view.breast_mask] > 0.4).sum() > 15 for view in screening])
    assert 0.6 < lettered < 0.98


def test_the_spectrum_of_the_tissue_falls_with_the_third_power_of_frequency():
    size = 128
    window = np.outer(np.hanning(size), np.hanning(size))
    frequency = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(size) * size]))
    power, count = 0.0, 0
    for k in range(6):
        for view in phantom_patient(21, k, malignant=False, height=1024, width=768)[:2]:
            for row in range(0, 1024 - size, size):
                for column in range(0, 768 - size, size):
                    block = np.s_[row : row + size, column : column + size]
                    clear = all(
                        np.hypot(p.row - row - size / 2, p.column - column - size / 2) > size
                        for p in view.lesions
                    )
                    if view.breast_mask[block].all() and clear:
                        patch = light(view)[block]
                        power = power + np.abs(np.fft.fft2((patch - patch.mean()) * window)) ** 2
                        count += 1
    assert count > 30
    rings = np.arange(3, 20)  # above the leakage of the window, below the quantum noise
    mean = [power[(frequency >= ring - 0.5) & (frequency < ring + 0.5)].mean() for ring in rings]
    beta = -np.polyfit(np.log(rings), np.log(mean), 1)[0]
    assert beta == pytest.approx(3.0, abs=0.3)


# ------------------------------------------------------------------------------------------------- difficulty


def test_statistics_of_the_whole_image_do_not_tell_the_classes_apart(screening):
    labels = [view.label for view in screening]
    statistics = {
        "mean": [light(v).mean() for v in screening],
        "deviation": [light(v).std() for v in screening],
        "largest": [light(v).max() for v in screening],
        "smallest": [light(v).min() for v in screening],
        "stored mean": [v.pixels.mean() for v in screening],
        "stored deviation": [v.pixels.std() for v in screening],
        "breast mean": [light(v)[v.breast_mask].mean() for v in screening],
        "breast size": [v.breast_mask.sum() for v in screening],
        "bits": [v.bits for v in screening],
        "photometric": [v.photometric == "MONOCHROME1" for v in screening],
        "window centre": [v.window[0] for v in screening],
        "window width": [v.window[1] for v in screening],
        "round masses": [sum(p.kind == ROUND for p in v.lesions) for v in screening],
    }
    # three standard deviations: thirteen statistics are tried, and two views of a breast are not independent
    allowed = 3 * null_deviation(labels)
    assert {name: auc(labels, values) for name, values in statistics.items()} == {
        name: pytest.approx(0.5, abs=allowed) for name in statistics
    }


def whitened(image: np.ndarray) -> np.ndarray:
    """Without its low frequencies, where tissue whose spectrum falls as 1/f**3 drowns every sign."""
    return image - gaussian_filter(image, 2.0)


def test_the_brightest_pixel_of_the_breast_does_not_betray_the_sign(screening):
    inside = []
    for view in screening:
        signs = [p for p in view.lesions if p.kind in MALIGNANT_KINDS]
        if signs:
            brightest = np.argmax(np.where(view.breast_mask, light(view), -1))
            row, column = np.unravel_index(brightest, view.pixels.shape)
            inside.append(np.hypot(row - signs[0].row, column - signs[0].column) < 1.5 * signs[0].radius)
    assert np.mean(inside) < 0.15


def matched_filter_outputs(difficulty: float, patients: range) -> tuple[list[int], list[float]]:
    """Labels and outputs of a filter matched to a sign, at the sign and mirrored in the other breast."""
    labels, outputs = [], []
    for k in patients:
        obvious, hidden, seen = (
            phantom_patient(13, k, malignant=True, difficulty=d, **MEDIUM) for d in (0.0, 1.0, difficulty)
        )
        for i, view in enumerate(seen):
            if not view.label:
                continue
            sign = next(p for p in view.lesions if p.kind in MALIGNANT_KINDS)
            other = light(seen[i ^ 1])[:, ::-1]  # L and R of one view are neighbours
            half = int(2.5 * sign.radius) + 1
            row, column = (
                int(np.clip(round(at), half, size - half))
                for at, size in zip((sign.row, sign.column), view.pixels.shape)
            )
            place = np.s_[row - half : row + half, column - half : column + half]
            rest = [p for p in seen[i ^ 1].lesions if p.kind == ROUND] + [
                p for p in view.lesions if p.kind == ROUND
            ]
            if any(
                np.hypot(p.row - row, min(abs(p.column - column), abs(383 - p.column - column)))
                < half + 2 * p.radius
                for p in rest
            ):
                continue

            template = whitened(light(obvious[i]) - light(hidden[i]))[place]
            for label, image in ((1, light(view)), (0, other)):
                labels.append(label)
                outputs.append(float(np.sum(template * whitened(image)[place]) / np.sum(template**2)))
    return labels, outputs


def test_a_matched_filter_at_the_place_of_the_sign_finds_it_at_middle_difficulty():
    assert auc(*matched_filter_outputs(0.5, range(10))) > 0.95


def test_a_matched_filter_finds_nothing_at_difficulty_one():
    labels, outputs = matched_filter_outputs(1.0, range(10))
    assert auc(labels, outputs) == pytest.approx(0.5, abs=2.5 * null_deviation(labels))


def test_the_contrast_of_every_sign_falls_steadily_to_nothing_as_difficulty_rises():
    steps = [0.0, 0.25, 0.5, 0.75, 1.0]
    contrast = []
    for k in range(4):
        scale = [phantom_patient(17, k, malignant=True, difficulty=d, **MEDIUM) for d in steps]
        for i, nothing in enumerate(scale[-1]):
            rows, columns = np.indices(nothing.pixels.shape)
            for lesion in nothing.lesions:
                inside = np.hypot(rows - lesion.row, columns - lesion.column) < lesion.radius
                contrast.append([np.mean((light(views[i]) - light(nothing))[inside]) for views in scale])
    contrast = np.array(contrast)
    assert (np.diff(contrast, axis=1) < 0).all() and (contrast[:, -1] == 0).all()
    # gamma (0.85 to 1.2) and clipping bend the line a little
    middle = contrast[:, 2] / contrast[:, 0]
    assert (abs(middle - 0.5) < 0.12).all()


def test_spiculated_masses_differ_from_round_ones_in_texture():
    """Along a circle outside the body a spiculated mass changes with the angle, a round one hardly."""
    texture = {ROUND: [], SPICULATED: []}
    angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    for k in range(5):
        sick, hidden = (
            phantom_patient(19, k, malignant=True, difficulty=d, height=1024, width=768) for d in (0.3, 1.0)
        )
        for view, nothing in zip(sick, hidden):
            signal = light(view) - light(nothing)
            for lesion in view.lesions:
                if lesion.kind in texture:
                    ring = np.stack(
                        [
                            lesion.row + 1.2 * lesion.radius * np.sin(angles),
                            lesion.column + 1.2 * lesion.radius * np.cos(angles),
                        ]
                    )
                    row, column = np.rint(ring).astype(int)
                    at = signal[row.clip(0, 1023), column.clip(0, 767)]
                    texture[lesion.kind].append(np.std(at) / signal[round(lesion.row), round(lesion.column)])
    assert min(len(values) for values in texture.values()) >= 4
    assert np.median(texture[SPICULATED]) > 3 * np.median(texture[ROUND])


@pytest.mark.parametrize(
    "wrong",
    [{"difficulty": 1.2}, {"difficulty": float("nan")}, {"height": 40}, {"height": 512, "width": 2000}],
)
def test_arguments_that_make_no_mammogram_are_refused_in_one_line(wrong):
    with pytest.raises(UserError) as error:
        phantom_patient(0, 0, malignant=False, **{**SMALL, **wrong})
    assert "\n" not in str(error.value) and str(next(iter(wrong.values()))) in str(error.value)


# ------------------------------------------------------------------------------------------------- files


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
