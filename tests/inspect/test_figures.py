"""The pictures of a plan: every word can be read, and what is drawn is what the plan says."""

import dataclasses
import itertools

import numpy as np
import pytest
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle
from PIL import Image

from mammojax.inspect.graph_figure import graph_figure
from mammojax.inspect.layer_sizes import classifier_sizes, scanning_sizes
from mammojax.inspect.windows_figure import emphasised, windows_figure
from mammojax.models.plans import backbone_module, plan
from mammojax.report.figures import save_palette_png


def made_plan(name, crop, cells=15, **options):
    return plan(crop, backbone_module(name).BACKBONE, cells, **options)


def film(shape):
    return np.random.default_rng(0).integers(0, 4096, shape).astype(np.uint16)


def words(figure):
    texts = [t for t in figure.findobj(match=lambda a: hasattr(a, "get_text")) if t.get_text().strip()]
    return [t for t in texts if t.get_visible()]


def check_words(figure):
    """All within the canvas, and no two on each other: boxes of ink, which may touch by less than a pixel."""
    figure.canvas.draw()
    boxes = [(t.get_text(), t.get_window_extent()) for t in words(figure)]
    assert len(boxes) > 8
    for text, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0, text
        assert box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height, text
    for (a, x), (b, y) in itertools.combinations(boxes, 2):
        wide, high = min(x.x1, y.x1) - max(x.x0, y.x0), min(x.y1, y.y1) - max(x.y0, y.y0)
        assert wide < 1 or high < 1, f"{a!r} lies on {b!r}"


@pytest.mark.parametrize(
    "name, crop, cells, tap",
    [
        ("vgg_m", (4084, 3328), 15, "fc6"),
        ("vgg_m", (90, 1200), 64, "pool5"),
        ("vgg_16", (4047, 1751), 64, "fc6"),
        ("efficientnet_lite0", (4084, 3328), 15, "stride16"),
        ("efficientnet_lite0", (4091, 1544), 64, "head"),
        ("efficientnet_lite0", (300, 200), 1, "stride8"),
    ],
)
def test_every_word_of_both_pictures_can_be_read(name, crop, cells, tap):
    chosen = made_plan(name, crop, cells, tap=tap)
    scanning = scanning_sizes(chosen)
    check_words(graph_figure(chosen, scanning, classifier_sizes(chosen, scanning[-1].channels)))
    check_words(windows_figure(film(crop), chosen, (0.05, 0.05)))


def test_the_graph_tells_the_size_of_every_layer_and_of_the_seam():
    chosen = made_plan("vgg_m", (4084, 3328))
    scanning = scanning_sizes(chosen)
    classifier = classifier_sizes(chosen, 4096)
    figure = graph_figure(chosen, scanning, classifier)
    told = [t.get_text() for t in words(figure)]
    for size in (*scanning, *classifier):
        assert size.name in told and str(size.output[0]) in told and str(size.channels) in told
    assert {"4084", "3328", "2331", "1999"} <= set(told)
    assert any("15 × 15 × 4096" in text for text in told)


def test_the_windows_drawn_are_those_of_the_plan():
    chosen = made_plan("efficientnet_lite0", (900, 640), 5)
    figure = windows_figure(film((900, 640)), chosen)
    every, single = figure.axes
    (outlines,) = [a for a in every.collections if isinstance(a, PatchCollection)]
    expected = chosen.cell_windows()
    found = [path.get_extents() for path in outlines.get_paths()]
    drawn = np.asarray([(box.y0, box.x0, box.y1, box.x1) for box in found])
    np.testing.assert_allclose(drawn, expected.reshape(-1, 4))
    apart = [p for p in single.patches if isinstance(p, Rectangle)]
    assert len(apart) == len(emphasised(chosen)) == 4
    for patch, cell in zip(apart, emphasised(chosen)):
        top, left, bottom, right = expected[cell]
        assert np.allclose(patch.get_bbox().extents, (left, top, right, bottom))
    (row, column), beside, below, _ = emphasised(chosen)
    assert beside == (row, column + 1) and below == (row + 1, column)
    assert expected[beside][1] < expected[row, column][3]  # neighbours overlap


def test_pixels_that_no_cell_sees_are_shaded_and_only_those():
    whole = made_plan("vgg_m", (330, 250), 3, padding="valid")
    rows, columns = whole.input_shape
    lacking = dataclasses.replace(
        whole,
        input_shape=(rows + 5, columns),
        crop_shape=(rows + 5, columns),
        reduced_shape=(rows + 5, columns),
    )
    shades = []
    for chosen in (whole, lacking):
        figure = windows_figure(film(chosen.crop_shape), chosen)
        shades.append([np.ma.getmaskarray(image.get_array()) for image in figure.axes[0].images[1:]])
        assert ("Red: pixels that no cell sees." in [t.get_text() for t in words(figure)]) == bool(shades[-1])
    assert not shades[0]
    (blank,) = shades[1]
    assert np.array_equal(~blank, np.broadcast_to(np.arange(rows + 5)[:, None] >= rows, blank.shape))


def test_the_scale_bar_is_20_mm_of_the_files_spacing_and_absent_without_one():
    chosen = made_plan("vgg_m", (3000, 1500))
    for spacing, bars in (((0.05, 0.1), {200.0}), (None, set())):
        axes = windows_figure(film((3000, 1500)), chosen, spacing).axes[1]
        assert {float(np.ptp(line.get_xdata())) for line in axes.lines} == bars


def test_a_saved_picture_is_1200_pixels_wide_and_the_same_bits_each_time(tmp_path):
    chosen = made_plan("vgg_m", (400, 300))
    for name in ("a", "b"):
        save_palette_png(windows_figure(film((400, 300)), chosen), tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "a.png").width == 1200
