"""The phantom: its truth is what the pictures hold, its tissue and films are what they claim."""

import numpy as np
import pytest

from mammojax.errors import UserError
from mammojax.phantom.screening_set import (
    CALCIFICATIONS,
    ROUND,
    SPICULATED,
    phantom_layouts,
    phantom_patient,
    pixel_spacing,
)
from tests.phantom.views import MALIGNANT_KINDS, MEDIUM, SMALL, light

# ------------------------------------------------------------------------------------------------- truth


def test_the_same_arguments_give_the_same_bits_and_other_patients_or_seeds_do_not():
    once, again, other, reseeded = (
        phantom_patient(seed, k, malignant=True, **SMALL) for seed, k in ((3, 8), (3, 8), (3, 9), (4, 8))
    )
    for a, b, c, d in zip(once, again, other, reseeded):
        assert a.pixels.tobytes() == b.pixels.tobytes() and a.lesions == b.lesions and a.window == b.window
        assert a.pixels.tobytes() not in (c.pixels.tobytes(), d.pixels.tobytes())


def test_the_malignant_and_the_healthy_version_of_a_patient_differ_by_the_sign_and_nothing_else():
    for k in range(6):
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
    for k in range(10):
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


@pytest.mark.parametrize(
    "wrong",
    [{"difficulty": 1.2}, {"difficulty": float("nan")}, {"height": 40}, {"height": 512, "width": 2000}],
)
def test_arguments_that_make_no_mammogram_are_refused_in_one_line(wrong):
    with pytest.raises(UserError) as error:
        phantom_patient(0, 0, malignant=False, **{**SMALL, **wrong})
    assert "\n" not in str(error.value) and str(next(iter(wrong.values()))) in str(error.value)
