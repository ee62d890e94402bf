"""The breast of a phantom: outline, pectoral muscle, skin and power-law tissue, in one canonical frame.

Frame: chest wall at x = 0, x towards the nipple, y downwards; the unit of length is the height of the image,
so that a phantom is the same breast at any resolution. What varies slowly lives on a coarse grid.

Tissue: noise whose power spectrum falls as 1/f**beta with beta about 3 (Burgess, Jacobson and Judy, "Human
observer detection experiments with mammograms and power-law noise", Medical Physics 28, 2001).
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.spatial

# Of the fields that tissue is made of; saturation and interpolation steepen the sum to about 3 (measured).
NOISE_BETA = 2.8
FAT, DENSE, MUSCLE = 0.17, 0.54, 0.58  # attenuation
COARSE_ROWS = 128  # linear interpolation of a distance between them is right to 0.1 pixel at 2048 rows


@dataclass(frozen=True)
class Habitus:
    """What the views of one patient have in common; lengths are fractions of the image height."""

    depth: float  # chest wall to nipple, as a fraction of the image width
    slenderness: float  # half height of the breast over its depth
    density: float  # 0 fatty to 1 dense
    strands: int  # ligaments and vessels


@dataclass(frozen=True)
class Outline:
    """The skin line of one view from top to bottom, its nipple, and the edge of the pectoral muscle."""

    x: np.ndarray
    y: np.ndarray
    nipple: tuple[float, float]
    chest: float  # x of the chest wall: beyond 0 when a strip of air was left there
    pectoral: tuple[float, float, float] | None  # width, height and power of its edge; None in CC

    def pectoral_depth(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Signed distance into the pectoral muscle, positive inside, in image heights; for MLO only."""
        width, height, power = self.pectoral
        left = np.maximum(1 - y / height, 0)
        edge = (
            self.chest
            + width * left**power * (1 + 0.12 * np.sin(6 * y / height))
            - 0.3 * np.maximum(y - height, 0)
        )
        slope = width / height  # of the straight line: close enough for the distance
        return (edge - x) / np.hypot(1, slope)


def draw_habitus(rng: np.random.Generator) -> Habitus:
    """The build of one patient."""
    return Habitus(
        depth=rng.uniform(0.42, 0.74),
        slenderness=rng.uniform(0.80, 1.15),
        density=rng.beta(1.6, 1.8),
        strands=int(rng.integers(7, 16)),
    )


def draw_outline(rng: np.random.Generator, habitus: Habitus, view: str, aspect: float) -> Outline:
    """The outline of one view ('CC' or 'MLO') of this patient; aspect: width over height of the image."""
    depth = min(habitus.depth * aspect * rng.uniform(0.96, 1.04), 0.62)
    chest = rng.uniform(0, 0.02) if rng.random() < 0.25 else 0.0
    ripple = rng.normal(0, 0.012, 3)
    phase = rng.uniform(0, 2 * np.pi, 3)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 400)
    if view == "CC":
        half = min(depth * habitus.slenderness * rng.uniform(0.95, 1.05), 0.455)
        centre = 0.5 + rng.uniform(-0.6, 0.6) * (0.49 - half)
        x = depth * np.cos(angle) ** rng.uniform(0.85, 1.25)
        y = centre + half * (np.sin(angle) + rng.uniform(-0.15, 0.15) * np.cos(angle) ** 2)
        pectoral = None
    else:
        nipple = rng.uniform(0.56, 0.68)
        fold = min(nipple + depth * habitus.slenderness * rng.uniform(0.62, 0.80), 0.97)
        axilla = depth * rng.uniform(0.62, 0.82)
        upper = angle < 0
        fraction = 1 + 2 * angle / np.pi  # 0 at the top edge of the image, 1 at the nipple
        rise = fraction**2 * (3 - 2 * fraction)
        neck = axilla * (1 - rng.uniform(0.05, 0.25) * np.sin(np.pi * np.clip(fraction, 0, 1)))
        below = depth * np.cos(angle) ** rng.uniform(0.80, 1.1)
        x = np.where(upper, neck + (depth - neck) * rise, below)
        y = np.where(upper, nipple * fraction, nipple + (fold - nipple) * np.sin(angle))
        pectoral = (axilla * rng.uniform(0.55, 0.85), rng.uniform(0.48, 0.74), rng.uniform(0.85, 1.2))
    x = x * (1 + sum(a * np.sin((k + 2) * angle + p) for k, (a, p) in enumerate(zip(ripple, phase))))
    tip = int(np.argmax(x))
    x = chest + x
    return Outline(x, y, (float(x[tip]), float(y[tip])), chest, pectoral)


def coarse_grid(aspect: float) -> tuple[np.ndarray, np.ndarray]:
    """x and y, float64[128, columns], of the coarse grid; outer nodes are outer pixels."""
    columns = max(round(COARSE_ROWS * aspect), 8)
    y, x = np.meshgrid(np.linspace(0, 1, COARSE_ROWS), np.linspace(0, aspect, columns), indexing="ij")
    return x, y


def skin_depth(outline: Outline, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance below the skin, positive in the breast, in image heights; the chest wall is no skin."""
    tree = scipy.spatial.cKDTree(np.stack([outline.x, outline.y], -1))
    _, nearest = tree.query(np.stack([x, y], -1), workers=1)
    # distance to the line through the nearest vertex's neighbours: distances to vertices would be scalloped
    before, after = np.maximum(nearest - 1, 0), np.minimum(nearest + 1, outline.x.size - 1)
    ax, ay, bx, by = outline.x[before], outline.y[before], outline.x[after], outline.y[after]
    dx, dy = bx - ax, by - ay
    along = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
    distance = np.hypot(x - ax - along * dx, y - ay - along * dy)
    inside = (x < np.interp(y, outline.y, outline.x)) & (y >= outline.y[0]) & (y <= outline.y[-1])
    return np.where(inside, distance, -distance)


def upsample(coarse: np.ndarray, height: int, width: int) -> np.ndarray:
    """float32[height, width], linear between the nodes of `coarse`; outer nodes are outer pixels."""
    coarse = coarse.astype(np.float32)
    for axis, size in ((0, height), (1, width)):
        at = np.linspace(0, coarse.shape[axis] - 1, size)
        low = np.minimum(at.astype(np.intp), coarse.shape[axis] - 2)
        weight = (at - low).astype(np.float32)
        weight = weight[:, None] if axis == 0 else weight
        start = coarse.take(low, axis)
        coarse = coarse.take(low + 1, axis)
        coarse -= start
        coarse *= weight
        coarse += start
    return coarse


def power_law_noise(
    rng: np.random.Generator, height: int, width: int, *, beta: float = NOISE_BETA, longest: float = 0.6
) -> np.ndarray:
    """A float32[height, width] field of mean 0 and variance about 1 with isotropic spectrum 1/f**beta.

    longest: wavelength, in image heights, beyond which the spectrum is flat.
    """
    rows, columns = scipy.fft.next_fast_len(height, real=True), scipy.fft.next_fast_len(width, real=True)
    fy = np.fft.fftfreq(rows).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(columns).astype(np.float32)
    amplitude = fx * fx + fy * fy
    amplitude += np.float32((1 / (longest * height)) ** 2)
    np.power(amplitude, np.float32(-beta / 4), out=amplitude)
    amplitude[0, 0] = 0
    power = 2 * np.sum(np.square(amplitude), dtype=np.float64) - np.sum(
        np.square(amplitude[:, 0]), dtype=np.float64
    )
    amplitude *= np.float32(rows * columns / np.sqrt(2 * power))
    spectrum = rng.standard_normal((rows, fx.size, 2), dtype=np.float32).view(np.complex64)[..., 0]
    spectrum *= amplitude
    return np.ascontiguousarray(scipy.fft.irfft2(spectrum, (rows, columns), workers=1)[:height, :width])


def fibres(rng: np.random.Generator, outline: Outline, height: int, width: int) -> np.ndarray:
    """float32[height, width], mean about 0: bright filaments that run towards the nipple.

    They are the zero lines of power-law noise in polar coordinates about a point before the nipple, where
    they crowd together as ducts do.
    """
    rows, columns = (height + 1) // 2, (width + 1) // 2
    field = power_law_noise(rng, rows, rows, longest=0.3)
    x, y = coarse_grid(width / height)
    dx, dy = outline.nipple[0] + 0.12 - x, y - outline.nipple[1]
    radius, angle = np.hypot(dx, dy), np.arctan2(dy, dx + 0.15)
    at = np.stack(
        [upsample(0.40 * rows * radius, rows, columns), upsample(0.45 * rows * angle, rows, columns)]
    )
    field = scipy.ndimage.map_coordinates(field, at, order=1, mode="grid-wrap")
    return upsample(np.float32(0.8) - np.abs(field), height, width)


def septa(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """float32[height, width], 0 to about 1: thin connective tissue, the level lines of a smooth field."""
    rows, columns = (height + 1) // 2, (width + 1) // 2
    sheet = np.exp(np.float32(-20) * np.abs(power_law_noise(rng, rows, columns, beta=4.2, longest=0.12)))
    fade = power_law_noise(rng, *coarse_grid(width / height)[0].shape, beta=4.2, longest=0.12)
    sheet *= upsample(np.clip(fade, 0, 1.5), rows, columns)
    return upsample(sheet, height, width)


def strand_map(rng: np.random.Generator, outline: Outline, count: int, height: int, width: int) -> np.ndarray:
    """float32[height, width] in 0 to about 1: ligaments and vessels that fan out from the nipple."""
    rows, columns = (height + 1) // 2, (width + 1) // 2
    canvas = np.zeros((rows, columns), np.float32)
    nx, ny = outline.nipple
    reach = nx - outline.chest
    along = np.linspace(0, 1, max(int(1.6 * reach * rows), 8))
    for _ in range(count):
        start, length = rng.uniform(0.02, 0.6), rng.uniform(0.25, 0.9)
        heading = rng.uniform(-1.25, 1.25)
        bend, wave, phase = rng.normal(0, 0.8), rng.normal(0, 0.25), rng.uniform(0, 2 * np.pi)
        strength, thickness = rng.uniform(0.25, 1.0), rng.uniform(0.3, 1.0)
        direction = heading + bend * along + wave * np.sin(9 * along + phase)
        step = reach * length / along.size
        x = nx - reach * start * np.cos(heading) - np.cumsum(np.cos(direction)) * step
        y = ny + reach * start * np.sin(heading) + np.cumsum(np.sin(direction)) * step
        fade = np.sin(np.pi * np.clip(along * 0.9 + 0.1, 0, 1)) ** 0.7
        spread = thickness * 1.6 * height / 2048
        for offset in (-1, 0, 1):  # a band of three lines, half-resolution pixels
            column = x * rows + offset * spread * np.sin(direction)
            row = y * rows + offset * spread * np.cos(direction)
            inside = (column >= 0) & (column < columns - 1) & (row >= 0) & (row < rows - 1)
            np.add.at(
                canvas, (row[inside].astype(int), column[inside].astype(int)), (strength * fade)[inside]
            )
    sigma = max(1.1 * height / 2048, 0.5)
    soft = scipy.ndimage.gaussian_filter(canvas, sigma, truncate=3)
    return upsample(np.minimum(soft * np.float32(sigma * 0.9), 1.2), height, width)


def add_nipple(rng: np.random.Generator, depth: np.ndarray, outline: Outline) -> None:
    """Raises `depth` around a nipple in profile, which two images in three have."""
    height = depth.shape[0]
    if rng.random() > 0.65:
        return
    radius = rng.uniform(14, 26) / 2048 * height
    column = outline.nipple[0] * (height - 1) - rng.uniform(-0.2, 0.5) * radius
    row = outline.nipple[1] * (height - 1)
    half = int(2.5 * radius) + 2
    top, left = max(int(row) - half, 0), max(int(column) - half, 0)
    part = depth[top : int(row) + half, left : int(column) + half]
    dy = np.arange(top, top + part.shape[0], dtype=np.float32)[:, None] - row
    dx = np.arange(left, left + part.shape[1], dtype=np.float32) - column
    np.maximum(part, (radius - np.hypot(dx, dy)) / height, out=part)


def tissue(
    rng: np.random.Generator,
    habitus: Habitus,
    outline: Outline,
    skin_depth: np.ndarray,
    height: int,
    width: int,
) -> np.ndarray:
    """Attenuation of the tissue, float32[height, width], as if the breast filled the image."""
    x, y = coarse_grid(width / height)
    nx, ny = outline.nipple
    broad = power_law_noise(rng, *x.shape, beta=4.0, longest=0.5)
    across = (x - outline.chest) / (nx - outline.chest)
    # glandular tissue: a cone behind the nipple, with fat towards the skin and the chest wall
    cone = 1.2 - 1.7 * np.hypot((across - 0.6) / 1.15, (y - ny) / (0.75 * nx + 0.05))
    level = 2.6 * (cone + 0.55 * broad) + 3.4 * (habitus.density - 0.80)
    level = np.minimum(level, 85 * (skin_depth - rng.uniform(0.025, 0.06)))
    texture = power_law_noise(rng, height, width)
    texture *= np.float32(0.6)
    texture += np.float32(0.9) * fibres(rng, outline, height, width)
    gland = upsample(level, height, width)
    gland += np.float32(0.9) * texture
    gland *= np.float32(0.6)
    np.tanh(gland, out=gland)
    image = np.float32((DENSE - FAT) / 2) * (gland + 1)
    image += np.float32(FAT)
    gland *= np.float32(0.020)  # dense tissue is the rougher one
    gland += np.float32(0.070)
    gland *= texture
    image += gland
    image += np.float32(0.045) * septa(rng, height, width)
    image += np.float32(0.06) * strand_map(rng, outline, habitus.strands, height, width)
    if outline.pectoral:
        inside = upsample(outline.pectoral_depth(x, y) * height, height, width)
        inside *= np.float32(0.22 * 2048 / height)
        inside += np.float32(0.3) * texture
        np.tanh(inside, out=inside)
        inside *= np.float32(0.5)
        inside += np.float32(0.5)
        thickness = rng.uniform(0.85, 1.05) + 0.25 * (1 - y / outline.pectoral[1]) * (1 - across)
        muscle = upsample(MUSCLE * thickness, height, width)
        muscle += np.float32(0.05) * texture
        muscle -= image
        muscle *= inside
        image += muscle
    return image


def compress(image: np.ndarray, depth: np.ndarray, *, rim: float, skin: float) -> None:
    """Gives `image` the thickness of a compressed slab with a round rim, and adds the skin.

    depth: distance below the skin; rim: its value where the full thickness is reached; both in image heights.
    """
    thickness = np.clip(depth / np.float32(rim), 0, 1)
    image *= np.sqrt(thickness * (2 - thickness))
    layer = np.maximum(depth * np.float32(1 / 0.0045), 0)
    image += np.float32(skin) * layer * np.exp(1 - layer)
