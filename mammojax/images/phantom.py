"""Synthetic mammograms whose truth is known: a screening patient is four views, and some hide a malignant sign.

Round masses, tissue, exposure, bit depth, lettering and all other nuisances are drawn from one distribution for both
classes: the random streams that make them do not know the label, so the malignant and the healthy version of one
patient differ by the malignant sign and by nothing else. Spiculated masses and clusters of micro-calcifications occur
in malignant breasts only; solitary calcifications occur in all.

Sizes scale with the image height; a pixel is 0.1 mm at 2048 rows (`pixel_spacing`).
"""

from dataclasses import dataclass

import numpy as np

from mammojax.errors import UserError
from mammojax.images import phantom_anatomy as anatomy
from mammojax.images import phantom_signs as signs
from mammojax.images.phantom_anatomy import Outline
from mammojax.seeds import stream

ROUND, SPICULATED, CALCIFICATIONS = "round mass", "spiculated mass", "calcifications"
VIEWS = (("L", "CC"), ("R", "CC"), ("L", "MLO"), ("R", "MLO"))
LESION_RADII = (12.0, 35.0)  # pixels at 2048 rows
MINIMUM_HEIGHT = 128

# Attenuation that a sign adds at difficulty 0; fat is 0.22 and dense tissue about 0.62.
CONTRAST = {ROUND: 0.42, SPICULATED: 0.46, CALCIFICATIONS: 0.75}
FAT, DENSE, MUSCLE = 0.17, 0.54, 0.64

GLYPHS = {  # 5 x 7 lettering, one row of five bits each
    "L": (16, 16, 16, 16, 16, 16, 31),
    "R": (30, 17, 17, 30, 20, 18, 17),
    "C": (14, 17, 16, 16, 16, 17, 14),
    "M": (17, 27, 21, 21, 17, 17, 17),
    "O": (14, 17, 17, 17, 17, 17, 14),
    " ": (0, 0, 0, 0, 0, 0, 0),
}


@dataclass(frozen=True)
class Lesion:
    """A sign in one image: centre and radius in pixels, and 'round mass', 'spiculated mass' or 'calcifications'.

    The radius is that of the body of a mass (spicules reach to about twice it) or of the circle around a cluster.
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
class Acquisition:
    """How one patient's images are taken and stored; values of light are fractions of the full scale."""

    film: bool
    bits: int
    photometric: str
    offset: float
    gain: float
    gamma: float
    noise: float
    rolloff: float
    skin: float
    lettering: str
    mirrored: bool


@dataclass(frozen=True)
class Layout:
    """All that is decided before a pixel is drawn: where everything lies in one view, in the canonical frame."""

    laterality: str
    view: str
    outline: Outline
    skin_depth: np.ndarray
    lesions: tuple[Lesion, ...]  # in pixels of the final image
    malignant: bool


def pixel_spacing(height: int) -> float:
    """Millimetres per pixel at the detector: 0.1 at 2048 rows."""
    return 0.1 * 2048 / height


def phantom_patient(seed: int, patient: int, *, malignant: bool, height: int = 2048, width: int = 1536,
                    difficulty: float = 0.5) -> list[PhantomView]:  # fmt: skip
    """The four views of one patient, L CC, R CC, L MLO, R MLO; the same bits whenever asked with the same arguments.

    malignant: one of the two breasts, drawn at random, has a malignant sign, visible in both of its views.
    difficulty: from 0 (signs are obvious) to 1 (signs have no contrast); contrast falls linearly with it.
    Raises UserError on sizes or difficulties that make no mammogram.
    """
    if not 0 <= difficulty <= 1:
        raise UserError(f"difficulty is {difficulty}; it goes from 0 (obvious) to 1 (invisible)")
    acquisition = _draw_acquisition(_random(seed, patient, "acquisition"))
    return [
        _render(seed, patient, layout, acquisition, height, width, 1 - difficulty)
        for layout in phantom_layouts(seed, patient, malignant=malignant, height=height, width=width)
    ]


def phantom_layouts(seed: int, patient: int, *, malignant: bool, height: int, width: int) -> list[Layout]:
    """What `phantom_patient` will draw, in the same order, without drawing it: outlines and lesions (milliseconds)."""
    if height < MINIMUM_HEIGHT or not 0.5 <= width / height <= 1.2:
        raise UserError(
            f"a phantom of {height} x {width} pixels was asked for; take a height of {MINIMUM_HEIGHT} or more and "
            "a width of 0.5 to 1.2 times the height"
        )
    habitus = anatomy.draw_habitus(_random(seed, patient, "habitus"))
    diseased = "LR"[int(_random(seed, patient, "side").integers(2))] if malignant else ""
    return [
        _lay_out(seed, patient, laterality, view, habitus, laterality == diseased, height, width)
        for laterality, view in VIEWS
    ]


def _random(seed: int, patient: int, *names: str) -> np.random.Generator:
    return np.random.default_rng([stream(seed, "phantom", *names), patient])


def _draw_acquisition(rng: np.random.Generator) -> Acquisition:
    film = bool(rng.random() < 0.35)
    return Acquisition(
        film=film,
        bits=int(rng.choice([10, 12, 14, 16], p=[0.2, 0.45, 0.25, 0.1])),
        photometric=str(rng.choice(["MONOCHROME1", "MONOCHROME2"], p=[0.3, 0.7])),
        offset=rng.uniform(0.02, 0.09) if film else rng.uniform(0.0, 0.05),
        gain=rng.uniform(0.62, 0.86),
        gamma=rng.uniform(0.85, 1.2),
        noise=rng.uniform(0.008, 0.020),
        rolloff=rng.uniform(0.07, 0.16) if film else rng.uniform(0.015, 0.05),
        skin=rng.uniform(0.02, 0.08) if film else rng.uniform(0.15, 0.35),
        lettering=str(rng.choice(["plain", "box", "none"], p=[0.3, 0.6, 0.1] if film else [0.65, 0.1, 0.25])),
        mirrored=film and bool(rng.random() < 0.25),
    )


# ---------------------------------------------------------------------------------------------- where things lie


def _lay_out(seed, patient, laterality, view, habitus, malignant, height, width) -> Layout:
    aspect = width / height
    outline = anatomy.draw_outline(_random(seed, patient, laterality, view, "outline"), habitus, view, aspect)
    x, y = anatomy.coarse_grid(aspect)
    depth = anatomy.skin_depth(outline, x, y)
    room = np.minimum(depth, x - outline.chest)
    if outline.pectoral:
        room = np.minimum(room, -outline.pectoral_depth(x, y))
    placed: list[tuple[float, float, float, str]] = []
    benign = _random(
        seed, patient, laterality, "benign"
    )  # one stream for both views: the same masses in both
    for number in range(int(benign.choice([0, 1, 2], p=[0.4, 0.4, 0.2]))):
        radius, share = benign.uniform(*LESION_RADII) / 2048, benign.uniform(0.2, 0.8)
        rng = _random(seed, patient, laterality, view, "benign", str(number))
        placed.append((*_place(rng, outline, room, aspect, share, radius, placed), radius, ROUND))
    if malignant:  # after the benign ones, whose places must not depend on it
        rng = _random(seed, patient, laterality, "malignant")
        radius, share = rng.uniform(*LESION_RADII) / 2048, rng.uniform(0.2, 0.8)
        kinds = ((SPICULATED,), (CALCIFICATIONS,), (SPICULATED, CALCIFICATIONS))[
            rng.choice(3, p=[0.5, 0.35, 0.15])
        ]
        rng = _random(seed, patient, laterality, view, "malignant")
        centre = _place(rng, outline, room, aspect, share, radius, placed)
        placed.extend((*centre, radius, kind) for kind in kinds)
    lesions = []
    for px, py, radius, kind in placed:
        column = px * (height - 1)
        column = width - 1 - column if laterality == "R" else column
        lesions.append(Lesion(round(py * (height - 1), 2), round(column, 2), round(radius * height, 2), kind))
    return Layout(laterality, view, outline, depth, tuple(lesions), malignant)


def _place(rng, outline, room, aspect, share, radius, taken) -> tuple[float, float]:
    """Centre of a lesion at `share` of the way from chest wall to nipple, clear of skin, muscle and other lesions."""
    rows, columns = room.shape
    best, best_clearance = (0.0, 0.0), -np.inf
    for _ in range(48):
        x = outline.chest + (outline.nipple[0] - outline.chest) * (share + rng.normal(0, 0.03))
        y = rng.uniform(outline.y[0], outline.y[-1])
        clearance = (
            room[round(y * (rows - 1)), min(round(x / aspect * (columns - 1)), columns - 1)] - 1.6 * radius
        )
        for other_x, other_y, other_radius, _ in taken:
            clearance = min(clearance, np.hypot(x - other_x, y - other_y) - 2.2 * (radius + other_radius))
        if clearance > best_clearance:
            best, best_clearance = (x, y), clearance
        if clearance > 0.012:
            break
    return best


# ---------------------------------------------------------------------------------------------- the picture


def _render(seed, patient, layout, acquisition, height, width, contrast) -> PhantomView:
    habitus = anatomy.draw_habitus(_random(seed, patient, "habitus"))
    names = (layout.laterality, layout.view)
    depth = anatomy.upsample(layout.skin_depth, height, width)
    _add_nipple(_random(seed, patient, *names, "nipple"), depth, layout.outline, height)
    chest = round(layout.outline.chest * height)
    mask = depth > 0
    mask[:, :chest] = False
    tissue = _tissue(
        _random(seed, patient, *names, "tissue"), layout, habitus, acquisition, depth, height, width
    )
    _add_solitary_calcifications(_random(seed, patient, *names, "solitary"), tissue, layout, height)
    flipped = layout.laterality == "R"
    for number, lesion in enumerate(layout.lesions):
        _add_lesion(
            _random(seed, patient, *names, "sign", str(number)), tissue, lesion, height, flipped, contrast
        )
    light = _expose(_random(seed, patient, *names, "exposure"), acquisition, tissue, mask, depth)
    if flipped:
        light, mask = light[:, ::-1], np.ascontiguousarray(mask[:, ::-1])
    light = np.ascontiguousarray(light)
    _burn_in(_random(seed, patient, *names, "lettering"), acquisition, layout, light, mask)
    top = 2**acquisition.bits - 1
    pixels = np.rint(np.clip(light, 0, 1) * np.float32(top)).astype(np.uint16)
    centre, extent = acquisition.offset + 0.45 * acquisition.gain, 0.88 * acquisition.gain
    if acquisition.photometric == "MONOCHROME1":
        np.subtract(top, pixels, out=pixels, dtype=np.uint16, casting="unsafe")
        centre = 1 - centre
    return PhantomView(pixels, acquisition.bits, acquisition.photometric, layout.laterality, layout.view,
                       int(layout.malignant), layout.lesions, mask,
                       (float(round(centre * top)), float(round(extent * top))))  # fmt: skip


def _add_nipple(rng, depth, outline, height) -> None:
    if rng.random() > 0.65:  # not in profile
        return
    radius = rng.uniform(14, 26) / 2048 * height
    row, column = (
        outline.nipple[1] * (height - 1),
        outline.nipple[0] * (height - 1) - rng.uniform(-0.2, 0.5) * radius,
    )
    half = int(2.5 * radius) + 2
    top, left = max(int(row) - half, 0), max(int(column) - half, 0)
    window = depth[top : int(row) + half, left : int(column) + half]
    dy = np.arange(top, top + window.shape[0], dtype=np.float32)[:, None] - row
    dx = np.arange(left, left + window.shape[1], dtype=np.float32) - column
    np.maximum(window, (radius - np.hypot(dx, dy)) / height, out=window)


def _tissue(rng, layout, habitus, acquisition, depth, height, width) -> np.ndarray:
    """Attenuation, float32[h, w]: fat 0.22, dense tissue about 0.6, 0 in air."""
    aspect = width / height
    x, y = anatomy.coarse_grid(aspect)
    outline = layout.outline
    nx, ny = outline.nipple
    broad = anatomy.power_law_noise(rng, *x.shape, beta=4.0, longest=0.5)
    across = (x - outline.chest) / (nx - outline.chest)
    # glandular tissue: a cone behind the nipple, under the skin fat and in front of the fat at the chest wall
    cone = 1.2 - 1.7 * np.hypot((across - 0.6) / 1.15, (y - ny) / (0.75 * nx + 0.05))
    level = 2.6 * (cone + 0.55 * broad) + 3.4 * (habitus.density - 0.76)
    level = np.minimum(level, 85 * (layout.skin_depth - rng.uniform(0.025, 0.06)))
    texture = anatomy.power_law_noise(rng, height, width, beta=anatomy.NOISE_BETA)
    texture *= np.float32(0.6)
    fibres = anatomy.fibres(rng, outline, height, width)
    fibres *= np.float32(0.9)
    texture += fibres
    gland = anatomy.upsample(level, height, width)
    gland += np.float32(0.9) * texture
    np.tanh(np.float32(0.6) * gland, out=gland)
    tissue = np.float32((DENSE - FAT) / 2) * (gland + 1)
    tissue += np.float32(FAT)
    gland *= np.float32(0.020)
    gland += np.float32(0.070)
    gland *= texture
    tissue += gland
    septa = anatomy.septa(rng, height, width)
    septa *= np.float32(0.045)
    tissue += septa
    strands = anatomy.strand_map(rng, outline, habitus.strands, height, width)
    strands *= np.float32(0.06)
    tissue += strands
    if outline.pectoral:
        inside = anatomy.upsample(outline.pectoral_depth(x, y) * height, height, width)
        inside *= np.float32(0.22 * 2048 / height)
        inside += np.float32(0.3) * texture
        np.tanh(inside, out=inside)
        inside *= np.float32(0.5)
        inside += np.float32(0.5)
        thick = rng.uniform(0.85, 1.05) + 0.25 * (1 - y / outline.pectoral[1]) * (
            1 - across
        )  # thicker at the axilla
        muscle = anatomy.upsample(MUSCLE * thick, height, width)
        muscle += np.float32(0.05) * texture
        muscle -= tissue
        muscle *= inside
        tissue += muscle
    # the compressed breast is a slab with a round rim; the skin is seen edge on
    rim = np.clip(depth / np.float32(acquisition.rolloff), 0, 1)
    rim = np.sqrt(rim * (2 - rim))
    tissue *= rim
    skin = np.maximum(depth * np.float32(1 / 0.0045), 0)
    tissue += np.float32(acquisition.skin) * skin * np.exp(1 - skin)
    return tissue


def _add_solitary_calcifications(rng, tissue, layout, height) -> None:
    """Benign grains, one here and one there, as bright as those of a cluster at difficulty 0, in every breast alike.

    They keep their contrast at every difficulty: were they fainter, the brightest pixel would betray a cluster.
    """
    unit, aspect = height / 2048, tissue.shape[1] / height
    rows, columns = layout.skin_depth.shape
    for _ in range(4 + int(rng.poisson(5.0))):
        x, y = rng.uniform(layout.outline.chest, layout.outline.nipple[0]), rng.uniform(0, 1)
        size, strength, tilt = rng.uniform(1.0, 2.4) * unit, rng.uniform(0.3, 1.0), rng.uniform(0, np.pi)
        if layout.skin_depth[round(y * (rows - 1)), round(x / aspect * (columns - 1))] > 0.02:
            signs.grain(tissue, y * (height - 1), x * (height - 1), size=size, strength=strength, stretch=1.1,
                        tilt=tilt)  # fmt: skip


def _add_lesion(rng, tissue, lesion, height, flipped, contrast) -> None:
    make = {ROUND: signs.round_mass, SPICULATED: signs.spiculated_mass,
            CALCIFICATIONS: signs.calcification_cluster}[lesion.kind]  # fmt: skip
    column = tissue.shape[1] - 1 - lesion.column if flipped else lesion.column
    row, whole = round(lesion.row), round(column)
    strength = np.float32(CONTRAST[lesion.kind] * rng.uniform(0.85, 1.15) * contrast)
    patch = make(rng, lesion.radius, height / 2048, (lesion.row - row, column - whole))
    half = patch.shape[0] // 2
    top, left = row - half, whole - half
    window = tissue[max(top, 0) : row + half + 1, max(left, 0) : whole + half + 1]
    window += strength * patch[max(-top, 0) :, max(-left, 0) :][: window.shape[0], : window.shape[1]]


def _expose(rng, acquisition, tissue, mask, depth) -> np.ndarray:
    """Light as a fraction of the full scale, with quantum noise; float32[h, w], not yet clipped."""
    gain, offset = acquisition.gain * rng.uniform(0.92, 1.08), acquisition.offset + rng.uniform(-0.01, 0.01)
    noise = rng.standard_normal(tissue.shape, dtype=np.float32)
    scale = np.float32(acquisition.noise) * (np.float32(0.5) + tissue)
    scale[~mask] = acquisition.noise * (0.25 if acquisition.film else 0.06)
    noise *= scale
    light = np.maximum(tissue, 0)
    light[~mask] = 0
    if acquisition.film:  # stray light: a glow beyond the skin line
        light += np.float32(0.05) * np.exp(np.minimum(depth, 0) * np.float32(1 / 0.03))
    np.power(light, np.float32(acquisition.gamma), out=light)
    light += noise
    light *= np.float32(gain)
    light += np.float32(max(offset, 0.0))
    return light


# ---------------------------------------------------------------------------------------------- lettering and edges


def _burn_in(rng, acquisition, layout, light, mask) -> None:
    """Draws lettering, a disc marker and a scanner edge into the air, in the final frame; never onto the breast."""
    height, width = light.shape
    far_left = layout.laterality == "R"
    if acquisition.film and rng.random() < 0.6:
        edge = rng.choice(["far", "top", "bottom"])
        extent = max(round(rng.uniform(0.004, 0.02) * height), 1)
        strip = {"far": np.s_[:, :extent] if far_left else np.s_[:, -extent:], "top": np.s_[:extent],
                 "bottom": np.s_[-extent:]}[edge]  # fmt: skip
        level = rng.uniform(0.45, 1.0)
        light[strip] = np.where(mask[strip], light[strip], level + 0.3 * (light[strip] - light[strip].mean()))
    bright = rng.uniform(0.88, 1.0)
    text = str(
        rng.choice(
            [f"{layout.laterality} {layout.view}", f"{layout.laterality}{layout.view}", layout.laterality]
        )
    )
    scale = max(round(rng.uniform(5, 9) * height / 2048), 1)
    stamp = _lettering(text, scale)
    if acquisition.lettering == "box":
        stamp = 1 - np.pad(stamp, 2 * scale)
    if acquisition.mirrored:
        stamp = stamp[:, ::-1]
    margin_row, margin_column = (int(rng.uniform(0.025, 0.12) * size) for size in (height, width))
    at_top = rng.random() < 0.75
    if acquisition.lettering != "none":
        for top_first in (at_top, not at_top):
            top = margin_row if top_first else height - margin_row - stamp.shape[0]
            left = margin_column if far_left else width - margin_column - stamp.shape[1]
            if _stamp(light, mask, stamp, top, left, bright):
                break
    if rng.random() < 0.3:
        radius = rng.uniform(12, 20) / 2048 * height
        at = np.arange(-int(radius) - 1, int(radius) + 2)
        disc = (np.hypot(at[:, None], at) <= radius).astype(np.float32)
        column = rng.uniform(0.70, 0.97) * width
        column = width - column if far_left else column
        _stamp(light, mask, disc, int(rng.uniform(0.05, 0.95) * height), int(column), bright)


def _lettering(text: str, scale: int) -> np.ndarray:
    rows = [
        [
            bit
            for letter in text
            for bit in (*((GLYPHS[letter][row] >> (4 - column)) & 1 for column in range(5)), 0)
        ]
        for row in range(7)
    ]
    return np.kron(np.array(rows, np.float32)[:, :-1], np.ones((scale, scale), np.float32))


def _stamp(light, mask, stamp, top, left, bright) -> bool:
    """Draws `stamp` unless it would touch the breast or leave the image; whether it was drawn."""
    if top < 0 or left < 0:
        return False
    place = np.s_[top : top + stamp.shape[0], left : left + stamp.shape[1]]
    if light[place].shape != stamp.shape or mask[place].any():
        return False
    light[place] = np.maximum(light[place], bright * stamp)
    return True
