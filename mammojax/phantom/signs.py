"""What a phantom's radiologist looks for: round masses, spiculated masses, clusters of micro-calcifications.

A sign is a float32 patch of attenuation with peak about 1, centred on its middle pixel plus a shift;
`unit` is the number of pixels per 1/2048 of the image height.
"""

import numpy as np


def _polar(half: int, shift: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    at = np.arange(-half, half + 1, dtype=np.float32)
    rows, columns = at[:, None] - np.float32(shift[0]), at[None, :] - np.float32(shift[1])
    return np.hypot(rows, columns), np.arctan2(rows, columns)


def _step(value: np.ndarray) -> np.ndarray:
    return 0.5 - 0.5 * np.tanh(value)


def round_mass(
    rng: np.random.Generator, radius: float, unit: float, shift: tuple[float, float]
) -> np.ndarray:
    """A smooth, well circumscribed, slightly oval mass of `radius` pixels."""
    distance, angle = _polar(int(np.ceil(1.7 * radius + 2)), shift)
    oval, tilt, soft = rng.uniform(0, 0.12), rng.uniform(0, np.pi), rng.uniform(0.10, 0.18)
    boundary = radius * (1 + oval * np.cos(2 * (angle - tilt)))
    dome = np.sqrt(np.maximum(1 - np.square(distance / (1.35 * boundary)), 0))
    return (_step((distance - boundary) / max(soft * radius, 0.5)) * (0.35 + 0.65 * dome)).astype(np.float32)


def spiculated_mass(
    rng: np.random.Generator, radius: float, unit: float, shift: tuple[float, float]
) -> np.ndarray:
    """An irregular core from which tapering spicules radiate, to between 1.1 and 2.4 times `radius`."""
    distance, angle = _polar(int(np.ceil(2.6 * radius + 2)), shift)
    boundary = np.full_like(distance, 0.62 * radius)
    for k in range(2, 8):
        boundary += radius * rng.normal(0, 0.22 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    core = _step((distance - boundary) / max(0.16 * radius, 0.5))
    star = np.zeros_like(distance)
    count = int(rng.integers(17, 27))
    for k in range(count):
        heading = 2 * np.pi * (k + rng.uniform(-0.6, 0.6)) / count
        reach, bend = radius * rng.uniform(1.1, 2.4), rng.normal(0, 0.2)
        width, strength = max(rng.uniform(1.1, 2.2) * unit, 0.55), rng.uniform(0.4, 1.0)
        turned = angle - heading
        along = distance * np.cos(turned)
        fraction = np.clip(along / reach, 0, 1)
        across = distance * np.sin(turned) - bend * reach * fraction**2
        taper = strength * (1 - fraction) ** 0.6 * (along > 0)
        np.maximum(
            star, taper * np.exp(-0.5 * np.square(across / (width * (1.25 - 0.6 * fraction)))), out=star
        )
    return (0.75 * core + star * (1 - 0.55 * core)).astype(np.float32)


def calcification_cluster(
    rng: np.random.Generator, radius: float, unit: float, shift: tuple[float, float]
) -> np.ndarray:
    """Eight to twenty-six bright, tiny, irregular grains within `radius` pixels."""
    half = int(np.ceil(1.2 * radius + 5 * unit + 2))
    patch = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    elongation, tilt = rng.uniform(0.55, 1.0), rng.uniform(0, np.pi)
    for _ in range(int(rng.integers(8, 27))):
        r, phi = radius * np.sqrt(rng.uniform(0, 1)), rng.uniform(0, 2 * np.pi)
        u, v = r * np.cos(phi), elongation * r * np.sin(phi)
        row = shift[0] + u * np.sin(tilt) + v * np.cos(tilt)
        column = shift[1] + u * np.cos(tilt) - v * np.sin(tilt)
        size, strength, stretch = rng.uniform(0.7, 1.7) * unit, rng.uniform(0.45, 1.0), rng.uniform(1, 1.9)
        grain(
            patch,
            half + row,
            half + column,
            size=size,
            strength=strength,
            stretch=stretch,
            tilt=rng.uniform(0, np.pi),
        )
    return np.minimum(patch, 1)  # grains that overlap are no brighter than one


def grain(
    image: np.ndarray, row: float, column: float, *, size: float, strength: float, stretch: float, tilt: float
) -> None:
    """Adds one calcification to `image`: an oval of scale `size` pixels, at least 0.55 to stay resolved."""
    size = max(size, 0.55)
    half = int(np.ceil(3 * size * stretch)) + 1
    top, left = max(int(row) - half, 0), max(int(column) - half, 0)
    window = image[top : max(int(row) + half + 1, 0), left : max(int(column) + half + 1, 0)]
    dy = np.arange(top, top + window.shape[0], dtype=np.float32)[:, None] - np.float32(row)
    dx = np.arange(left, left + window.shape[1], dtype=np.float32) - np.float32(column)
    u, v = dx * np.cos(tilt) + dy * np.sin(tilt), dy * np.cos(tilt) - dx * np.sin(tilt)
    squared = np.square(u / (size * stretch)) + np.square(v / size)
    window += (strength * np.exp(-0.5 * squared)).astype(np.float32)
