"""How a phantom is exposed, lettered and stored: digital detectors and digitised film, ten to sixteen bits.

Nothing here knows the label or looks at the lesions. Light is a fraction of the full scale.
"""

from dataclasses import dataclass

import numpy as np

GLYPHS = {  # 5 x 7 lettering, one row of five bits each
    "L": (16, 16, 16, 16, 16, 16, 31),
    "R": (30, 17, 17, 30, 20, 18, 17),
    "C": (14, 17, 16, 16, 16, 17, 14),
    "M": (17, 27, 21, 21, 17, 17, 17),
    "O": (14, 17, 17, 17, 17, 17, 14),
    " ": (0, 0, 0, 0, 0, 0, 0),
}


@dataclass(frozen=True)
class Acquisition:
    """How the images of one patient are taken and stored."""

    film: bool
    bits: int  # 10, 12, 14 or 16
    photometric: str  # MONOCHROME1 or MONOCHROME2
    offset: float  # light of the background
    gain: float  # light of attenuation 1 above it
    gamma: float
    noise: float  # standard deviation at attenuation 0.5, as attenuation
    rim: float  # depth below the skin line over which the breast reaches its full thickness, in image heights
    skin: float  # attenuation of the skin line
    lettering: str  # plain, box (dark on a bright plate) or none
    mirrored: bool  # a film that was turned over: the lettering reads backwards


def draw_acquisition(rng: np.random.Generator) -> Acquisition:
    """The equipment of one patient: one in three is digitised film, the rest digital."""
    film = bool(rng.random() < 0.35)
    return Acquisition(
        film=film,
        bits=int(rng.choice([10, 12, 14, 16], p=[0.2, 0.45, 0.25, 0.1])),
        photometric=str(rng.choice(["MONOCHROME1", "MONOCHROME2"], p=[0.3, 0.7])),
        offset=rng.uniform(0.02, 0.09) if film else rng.uniform(0.0, 0.05),
        gain=rng.uniform(0.62, 0.86),
        gamma=rng.uniform(0.85, 1.2),
        noise=rng.uniform(0.008, 0.020),
        rim=rng.uniform(0.07, 0.16) if film else rng.uniform(0.015, 0.05),
        skin=rng.uniform(0.02, 0.08) if film else rng.uniform(0.15, 0.35),
        lettering=str(rng.choice(["plain", "box", "none"], p=[0.3, 0.6, 0.1] if film else [0.65, 0.1, 0.25])),
        mirrored=film and bool(rng.random() < 0.25),
    )


def expose(
    rng: np.random.Generator,
    acquisition: Acquisition,
    attenuation: np.ndarray,
    mask: np.ndarray,
    depth: np.ndarray,
) -> np.ndarray:
    """Light with quantum noise, float32[h, w], not yet clipped to the full scale.

    depth: distance below the skin line in image heights, negative in air.
    """
    gain = acquisition.gain * rng.uniform(0.92, 1.08)
    offset = max(acquisition.offset + rng.uniform(-0.01, 0.01), 0.0)
    noise = rng.standard_normal(attenuation.shape, dtype=np.float32)
    scale = np.float32(acquisition.noise) * (np.float32(0.5) + attenuation)
    scale[~mask] = acquisition.noise * (0.25 if acquisition.film else 0.06)
    noise *= scale
    light = np.maximum(attenuation, 0)
    light[~mask] = 0
    if acquisition.film:  # stray light: a glow beyond the skin line
        light += np.float32(0.05) * np.exp(np.minimum(depth, 0) * np.float32(1 / 0.03))
    np.power(light, np.float32(acquisition.gamma), out=light)
    light += noise
    light *= np.float32(gain)
    light += np.float32(offset)
    return light


def store(acquisition: Acquisition, light: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Stored values, uint16[h, w], and the centre and width of a window that shows the breast well.

    The window follows from the equipment alone, so that it tells nothing about the picture.
    """
    top = 2**acquisition.bits - 1
    pixels = np.rint(np.clip(light, 0, 1) * np.float32(top)).astype(np.uint16)
    centre, width = acquisition.offset + 0.45 * acquisition.gain, 0.88 * acquisition.gain
    if acquisition.photometric == "MONOCHROME1":
        np.subtract(top, pixels, out=pixels, dtype=np.uint16, casting="unsafe")
        centre = 1 - centre
    return pixels, (float(round(centre * top)), float(round(width * top)))


def burn_in(
    rng: np.random.Generator,
    acquisition: Acquisition,
    laterality: str,
    view: str,
    light: np.ndarray,
    mask: np.ndarray,
) -> None:
    """Draws a scanner's edge, lettering and a disc marker into the air of the final picture."""
    height, width = light.shape
    air_left = laterality == "R"
    if acquisition.film and rng.random() < 0.6:
        extent = max(round(rng.uniform(0.004, 0.02) * height), 1)
        edges = (np.s_[:, :extent] if air_left else np.s_[:, -extent:], np.s_[:extent], np.s_[-extent:])
        strip = edges[int(rng.integers(3))]
        level = rng.uniform(0.45, 1.0)
        light[strip] = np.where(mask[strip], light[strip], level + 0.3 * (light[strip] - light[strip].mean()))
    bright = rng.uniform(0.88, 1.0)
    text = str(rng.choice([f"{laterality} {view}", f"{laterality}{view}", laterality]))
    scale = max(round(rng.uniform(5, 9) * height / 2048), 1)
    stamp = _lettering(text, scale)
    if acquisition.lettering == "box":
        stamp = 1 - np.pad(stamp, 2 * scale)
    if acquisition.mirrored:
        stamp = stamp[:, ::-1]
    margin_row, margin_column = (int(rng.uniform(0.025, 0.12) * size) for size in (height, width))
    above = rng.random() < 0.75
    if acquisition.lettering != "none":
        left = margin_column if air_left else width - margin_column - stamp.shape[1]
        for at_top in (above, not above):
            top = margin_row if at_top else height - margin_row - stamp.shape[0]
            if _stamp(light, mask, stamp, top, left, bright):
                break
    if rng.random() < 0.3:
        radius = rng.uniform(12, 20) / 2048 * height
        at = np.arange(-int(radius) - 1, int(radius) + 2)
        disc = (np.hypot(at[:, None], at) <= radius).astype(np.float32)
        column = rng.uniform(0.70, 0.97) * width
        column = width - column if air_left else column
        _stamp(light, mask, disc, int(rng.uniform(0.05, 0.95) * height), int(column), bright)


def _lettering(text: str, scale: int) -> np.ndarray:
    """float32[7 * scale, ...], 1 on the strokes."""
    rows = [
        [GLYPHS[letter][row] >> 4 - k & 1 if k < 5 else 0 for letter in text for k in range(6)]
        for row in range(7)
    ]
    return np.kron(np.array(rows, np.float32)[:, :-1], np.ones((scale, scale), np.float32))


def _stamp(
    light: np.ndarray, mask: np.ndarray, stamp: np.ndarray, top: int, left: int, bright: float
) -> bool:
    """Draws `stamp` unless it would touch the breast or leave the picture; whether it was drawn."""
    if top < 0 or left < 0:
        return False
    place = np.s_[top : top + stamp.shape[0], left : left + stamp.shape[1]]
    if light[place].shape != stamp.shape or mask[place].any():
        return False
    light[place] = np.maximum(light[place], bright * stamp)
    return True
