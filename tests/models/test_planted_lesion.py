"""A lesion of 20 pixels in a film of 4084 x 3328: which cells of the representation move."""

import functools

import jax
import numpy as np
import pytest
from flax import nnx

from mammojax.models.plans import plan
from mammojax.models.scanning import prepare_image, scan

FILM, BITS, SIDE = (4084, 3328), 12, 20


@functools.cache
def film() -> np.ndarray:
    """uint16 texture at two scales; no phantom, which takes seconds at this size and adds nothing to the question."""
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.integers(900, 1100, (FILM[0] // 4, FILM[1] // 4)), np.ones((4, 4), int))
    return (coarse + rng.integers(0, 100, FILM)).astype(np.uint16)


def moved(network, made, corner):
    """bool[np, np]: cells that a bright square of 20 x 20 pixels at this corner changes at all."""
    graph, state = nnx.split(network)
    run = jax.jit(lambda state, x: scan(nnx.merge(graph, state), x, made))
    lesion = film().copy()
    lesion[corner[0] : corner[0] + SIDE, corner[1] : corner[1] + SIDE] = 2**BITS - 1
    before, after = (np.asarray(run(state, prepare_image(v, BITS, made)[None]))[0] for v in (film(), lesion))
    return (before != after).any(-1)


def overlaps_and_holds(made, corner):
    """bool[np, np] each: cells whose window touches the square, and whose middle half holds it."""
    top, left, bottom, right = np.moveaxis(made.cell_windows(), -1, 0)
    (row, column), more = corner, made.reduction  # area averaging spreads an edge over one pixel that is read
    touches = (top < row + SIDE + more[0]) & (bottom > row - more[0])
    touches &= (left < column + SIDE + more[1]) & (right > column - more[1])
    deep, wide = (bottom - top) / 4, (right - left) / 4
    inside = (top + deep <= row) & (bottom - deep >= row + SIDE)
    inside &= (left + wide <= column) & (right - wide >= column + SIDE)
    return touches, inside


# np 15 reduces the film by 1.75, np 64 reads it at full resolution
@pytest.mark.parametrize("cells, padding", [(15, "own"), (15, "valid"), (64, "own")])
def test_a_lesion_moves_the_cells_that_see_it_and_no_others(thin_network, cells, padding):
    made = plan(FILM, thin_network.backbone, cells, padding=padding)
    assert (made.reduction == (1.0, 1.0)) == (cells == 64)
    corner = (2610, 1240)
    changed = moved(thin_network, made, corner)
    touches, inside = overlaps_and_holds(made, corner)
    assert inside.sum() >= 4 and touches.sum() < 0.8 * cells**2
    assert not (changed & ~touches).any()  # not a bit beyond the receptive field
    assert changed[inside].all()


def test_a_lesion_at_the_edge_of_the_film_is_seen_by_the_outermost_cell(thin_network):
    made = plan(FILM, thin_network.backbone, 64)
    corner = (FILM[0] - SIDE, 0)
    changed = moved(thin_network, made, corner)
    touches, _ = overlaps_and_holds(made, corner)
    assert changed.any() and not (changed & ~touches).any()


@pytest.mark.slow
def test_a_lesion_moves_the_cells_of_the_imagenet_network_that_see_it(lite):
    made = plan(FILM, lite.backbone, 15)
    corner = (2610, 1240)
    changed = moved(lite, made, corner)
    touches, inside = overlaps_and_holds(made, corner)
    assert made.reduction == (1.0, 1.0) and inside.any() and not (changed & ~touches).any()
    assert changed[inside].all()


def test_a_lesion_moves_the_cells_of_the_imagenet_network_in_a_part_of_the_film(lite):
    part = film()[2000:3000, 900:1500]
    made = plan(part.shape, lite.backbone, 15)
    graph, state = nnx.split(lite)
    run = jax.jit(lambda state, x: scan(nnx.merge(graph, state), x, made))
    lesion = part.copy()
    lesion[610 : 610 + SIDE, 240 : 240 + SIDE] = 2**BITS - 1
    before, after = (np.asarray(run(state, prepare_image(v, BITS, made)[None]))[0] for v in (part, lesion))
    difference = np.abs(after - before).sum(-1)
    touches, inside = overlaps_and_holds(made, (610, 240))
    assert not ((difference > 0) & ~touches).any() and touches.sum() < 0.8 * 15**2
    assert inside.any() and inside[np.unravel_index(difference.argmax(), difference.shape)]
