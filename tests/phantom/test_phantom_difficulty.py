"""The phantom hides nothing but the sign, and its contrast is what the difficulty says."""

import functools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mammojax.phantom.screening_set import (
    ROUND,
    SPICULATED,
    phantom_patient,
)
from tests.phantom.views import MALIGNANT_KINDS, MEDIUM, auc, light, null_deviation


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


@functools.cache
def patient(k: int, difficulty: float):
    return phantom_patient(13, k, malignant=True, difficulty=difficulty, **MEDIUM)


def matched_filter_outputs(difficulty: float, patients: range) -> tuple[list[int], list[float]]:
    """Labels and outputs of a filter matched to a sign, at the sign and mirrored in the other breast."""
    labels, outputs = [], []
    for k in patients:
        obvious, hidden, seen = (patient(k, d) for d in (0.0, 1.0, difficulty))
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
    for k in range(2):
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
