"""Synthetic mammograms whose truth is known: a patient is four views, and in some a malignant sign is hidden.

Round masses, solitary calcifications, tissue, exposure, bit depth, lettering and all other nuisances come
from random streams that do not know the label: the malignant and the healthy version of one patient differ by
the malignant sign and by nothing else. Spiculated masses and clusters of micro-calcifications occur in
malignant breasts only.

Sizes scale with the height of the image; a pixel is 0.1 mm at 2048 rows (`pixel_spacing`).
"""

from dataclasses import dataclass

import numpy as np

from mammojax.errors import UserError
from mammojax.phantom import anatomy as anatomy
from mammojax.phantom import signs as signs
from mammojax.phantom.acquisition import Acquisition, burn_in, draw_acquisition, expose, store
from mammojax.phantom.anatomy import Habitus, Outline
from mammojax.seeds import stream

ROUND, SPICULATED, CALCIFICATIONS = "round mass", "spiculated mass", "calcifications"
MALIGNANT_SIGNS = ((SPICULATED,), (CALCIFICATIONS,), (SPICULATED, CALCIFICATIONS))
VIEWS = (("L", "CC"), ("R", "CC"), ("L", "MLO"), ("R", "MLO"))
LESION_RADII = (12.0, 35.0)  # pixels at 2048 rows
MINIMUM_HEIGHT = 128

# Attenuation that a sign adds at difficulty 0, on the scale of anatomy.FAT and anatomy.DENSE.
CONTRAST = {ROUND: 0.42, SPICULATED: 0.46, CALCIFICATIONS: 0.75}
DRAW = {
    ROUND: signs.round_mass,
    SPICULATED: signs.spiculated_mass,
    CALCIFICATIONS: signs.calcification_cluster,
}


@dataclass(frozen=True)
class Lesion:
    """A sign in one image: centre and radius in pixels, 'round mass', 'spiculated mass' or 'calcifications'.

    The radius is that of the body of a mass (spicules reach to about twice it) or of the circle of a cluster.
    """

    row: float
    column: float
    radius: float
    kind: str


@dataclass(frozen=True)
class PhantomView:
    """One image as a scanner would store it, and the truth about it."""

    pixels: np.ndarray  # uint16[h, w], stored values: MONOCHROME1 is dark where attenuation is high
    bits: int  # 10, 12, 14 or 16; pixels < 2**bits
    photometric: str  # MONOCHROME1 or MONOCHROME2
    laterality: str  # L: chest wall at the left edge, R: at the right
    view: str  # CC or MLO
    label: int  # 1: a malignant sign is in this image
    lesions: tuple[Lesion, ...]
    breast_mask: np.ndarray  # bool[h, w]
    window: tuple[float, float]  # centre and width of a sensible display, in stored values


@dataclass(frozen=True)
class Layout:
    """What is decided before a pixel is drawn: where everything lies in one view."""

    laterality: str
    view: str
    malignant: bool
    lesions: tuple[Lesion, ...]  # in pixels of the final image
    habitus: Habitus
    outline: Outline  # this and skin_depth in the canonical frame of `phantom_anatomy`
    skin_depth: np.ndarray


def pixel_spacing(height: int) -> float:
    """Millimetres per pixel at the detector: 0.1 at 2048 rows."""
    return 0.1 * 2048 / height


def phantom_patient(
    seed: int,
    patient: int,
    *,
    malignant: bool,
    height: int = 2048,
    width: int = 1536,
    difficulty: float = 0.5,
) -> list[PhantomView]:
    """The four views of one patient, L CC, R CC, L MLO, R MLO: the same bits for the same arguments.

    malignant: one of the two breasts, drawn at random, has a malignant sign, visible in both of its views.
    difficulty: from 0 (signs are obvious) to 1 (signs have no contrast); contrast falls linearly with it.
    Raises UserError on sizes or difficulties that make no mammogram.
    """
    if not 0 <= difficulty <= 1:
        raise UserError(f"difficulty is {difficulty}; it goes from 0 (obvious) to 1 (invisible)")
    acquisition = draw_acquisition(_random(seed, patient, "acquisition"))
    layouts = phantom_layouts(seed, patient, malignant=malignant, height=height, width=width)
    return [_render(seed, patient, each, acquisition, height, width, 1 - difficulty) for each in layouts]


def phantom_layouts(seed: int, patient: int, *, malignant: bool, height: int, width: int) -> list[Layout]:
    """Where everything lies in the four views of `phantom_patient`, in its order, without drawing them."""
    if height < MINIMUM_HEIGHT or not 0.5 <= width / height <= 1.2:
        raise UserError(
            f"a phantom of {height} x {width} pixels was asked for; take a height of "
            f"{MINIMUM_HEIGHT} or more and a width of 0.5 to 1.2 times the height"
        )
    habitus = anatomy.draw_habitus(_random(seed, patient, "habitus"))
    diseased = "LR"[int(_random(seed, patient, "side").integers(2))] if malignant else ""
    return [
        _lay_out(seed, patient, laterality, view, habitus, laterality == diseased, height, width)
        for laterality, view in VIEWS
    ]


def _random(seed: int, patient: int, *names: str) -> np.random.Generator:
    return np.random.default_rng([stream(seed, "phantom", *names), patient])


def _lay_out(
    seed: int,
    patient: int,
    laterality: str,
    view: str,
    habitus: Habitus,
    malignant: bool,
    height: int,
    width: int,
) -> Layout:
    aspect = width / height
    outline = anatomy.draw_outline(_random(seed, patient, laterality, view, "outline"), habitus, view, aspect)
    x, y = anatomy.coarse_grid(aspect)
    depth = anatomy.skin_depth(outline, x, y)
    room = np.minimum(depth, x - outline.chest)
    if outline.pectoral:
        room = np.minimum(room, -outline.pectoral_depth(x, y))
    placed: list[tuple[float, float, float, str]] = []
    # streams without the view: number, size and depth of the masses are the same in both views of a breast
    breast = _random(seed, patient, laterality, "benign")
    for number in range(int(breast.choice([0, 1, 2], p=[0.4, 0.4, 0.2]))):
        radius, share = breast.uniform(*LESION_RADII) / 2048, breast.uniform(0.2, 0.8)
        rng = _random(seed, patient, laterality, view, "benign", str(number))
        placed.append((*_place(rng, outline, room, aspect, share, radius, placed), radius, ROUND))
    if malignant:  # after the benign ones, whose places must not depend on it
        breast = _random(seed, patient, laterality, "malignant")
        radius, share = breast.uniform(*LESION_RADII) / 2048, breast.uniform(0.2, 0.8)
        kinds = MALIGNANT_SIGNS[breast.choice(3, p=[0.5, 0.35, 0.15])]
        rng = _random(seed, patient, laterality, view, "malignant")
        centre = _place(rng, outline, room, aspect, share, radius, placed)
        placed.extend((*centre, radius, kind) for kind in kinds)
    lesions = []
    for px, py, radius, kind in placed:
        column = width - 1 - px * (height - 1) if laterality == "R" else px * (height - 1)
        lesions.append(Lesion(round(py * (height - 1), 2), round(column, 2), round(radius * height, 2), kind))
    return Layout(laterality, view, malignant, tuple(lesions), habitus, outline, depth)


def _place(
    rng, outline: Outline, room: np.ndarray, aspect: float, share: float, radius: float, taken: list
) -> tuple[float, float]:
    """x and y of a lesion about `share` of the way from chest wall to nipple, clear of skin and muscle."""
    rows, columns = room.shape
    best, best_clearance = (0.0, 0.0), -np.inf
    for _ in range(48):
        x = outline.chest + (outline.nipple[0] - outline.chest) * (share + rng.normal(0, 0.03))
        y = rng.uniform(outline.y[0], outline.y[-1])
        node = round(y * (rows - 1)), min(round(x / aspect * (columns - 1)), columns - 1)
        clearance = room[node] - 1.6 * radius
        for other_x, other_y, other_radius, _ in taken:
            clearance = min(clearance, np.hypot(x - other_x, y - other_y) - 2.2 * (radius + other_radius))
        if clearance > best_clearance:
            best, best_clearance = (x, y), clearance
        if clearance > 0.012:
            break
    return best


def _render(
    seed: int,
    patient: int,
    layout: Layout,
    acquisition: Acquisition,
    height: int,
    width: int,
    contrast: float,
) -> PhantomView:
    def rng(*names: str) -> np.random.Generator:
        return _random(seed, patient, layout.laterality, layout.view, *names)

    outline, flipped = layout.outline, layout.laterality == "R"
    depth = anatomy.upsample(layout.skin_depth, height, width)
    anatomy.add_nipple(rng("nipple"), depth, outline)
    mask = depth > 0
    mask[:, : round(outline.chest * height)] = False
    image = anatomy.tissue(rng("tissue"), layout.habitus, outline, layout.skin_depth, height, width)
    anatomy.compress(image, depth, rim=acquisition.rim, skin=acquisition.skin)
    _add_solitary_calcifications(rng("solitary"), image, layout)
    for number, lesion in enumerate(layout.lesions):
        _add_lesion(rng("sign", str(number)), image, lesion, flipped, contrast)
    image = expose(rng("exposure"), acquisition, image, mask, depth)
    if flipped:
        image, mask = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
    burn_in(rng("lettering"), acquisition, layout.laterality, layout.view, image, mask)
    pixels, window = store(acquisition, image)
    return PhantomView(
        pixels,
        acquisition.bits,
        acquisition.photometric,
        layout.laterality,
        layout.view,
        int(layout.malignant),
        layout.lesions,
        mask,
        window,
    )


def _add_solitary_calcifications(rng, image: np.ndarray, layout: Layout) -> None:
    """Benign grains here and there in every breast, as bright as those of a cluster at difficulty 0.

    Their contrast does not depend on the difficulty: else the brightest pixel would betray a cluster.
    """
    height, width = image.shape
    rows, columns = layout.skin_depth.shape
    for _ in range(4 + int(rng.poisson(5.0))):
        x, y = rng.uniform(layout.outline.chest, layout.outline.nipple[0]), rng.uniform(0, 1)
        size, strength, tilt = rng.uniform(1.0, 2.4), rng.uniform(0.3, 1.25), rng.uniform(0, np.pi)
        node = round(y * (rows - 1)), min(round(x * height / width * (columns - 1)), columns - 1)
        if layout.skin_depth[node] > 0.02:
            signs.grain(
                image,
                y * (height - 1),
                x * (height - 1),
                size=size * height / 2048,
                strength=strength,
                stretch=1.1,
                tilt=tilt,
            )


def _add_lesion(rng, image: np.ndarray, lesion: Lesion, flipped: bool, contrast: float) -> None:
    height, width = image.shape
    column = width - 1 - lesion.column if flipped else lesion.column
    row, whole = round(lesion.row), round(column)
    strength = np.float32(CONTRAST[lesion.kind] * rng.uniform(0.85, 1.15) * contrast)
    patch = DRAW[lesion.kind](rng, lesion.radius, height / 2048, (lesion.row - row, column - whole))
    half = patch.shape[0] // 2
    top, left = row - half, whole - half
    part = image[max(top, 0) : row + half + 1, max(left, 0) : whole + half + 1]
    part += strength * patch[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]
