"""Which cells are breast: areas by an independent count of pixels."""

import numpy as np
import pytest

from mammojax.datasets.schema import tissue_share
from mammojax.models.backbones.efficientnet_lite import LITE0
from mammojax.models.plans import dense_plan, plan
from mammojax.representations.tissue import cell_edges, covered, tissue_cells

RNG = np.random.default_rng(0)


def test_coverage_is_the_share_of_mask_pixels_where_cells_are_made_of_whole_blocks():
    mask = RNG.random((64, 48)) < 0.5
    rows = np.stack([np.arange(0, 64, 16), np.arange(16, 80, 16)], 1).astype(float)
    columns = np.stack([np.arange(0, 48, 16), np.arange(16, 64, 16)], 1).astype(float)
    expected = mask.reshape(4, 16, 3, 16).mean((1, 3))
    # a block keeps its share in 1/255
    assert np.allclose(covered(tissue_share(mask), rows, columns), expected, atol=0.5 / 255)


def test_cells_of_a_dense_map_tile_the_crop_and_half_covered_ones_are_tissue():
    made = dense_plan((320, 256), LITE0.BACKBONE, tap="stride32", scale=1.0, max_side=None)
    rows, columns = cell_edges(made)
    assert rows[0, 0] == pytest.approx(0) and np.allclose(rows[1:, 0], rows[:-1, 1])
    assert np.allclose(np.diff(columns, axis=1), 32)
    mask = np.zeros((320, 256), bool)
    mask[:, :112] = True  # three cells and a half
    found = tissue_cells(tissue_share(mask), made)
    assert found[:, :4].all() and not found[:, 4:].any()


def test_a_picture_without_half_covered_cells_keeps_those_with_any_and_one_without_mask_all():
    made = dense_plan((128, 128), LITE0.BACKBONE, tap="stride32", scale=1.0, max_side=None)
    mask = np.zeros((128, 128), bool)
    mask[:8, :8] = True
    assert np.argwhere(tissue_cells(tissue_share(mask), made)).tolist() == [[0, 0]]
    assert tissue_cells(tissue_share(np.zeros((128, 128), bool)), made).all()


def test_cells_of_a_grid_are_its_windows():
    made = plan((400, 300), LITE0.BACKBONE, 4)
    mask = np.ones((400, 300), bool)
    assert tissue_cells(tissue_share(mask), made).shape == (4, 4)
