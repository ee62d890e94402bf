"""The step before the network: how grey values are spread over its input range."""

import numpy as np

LOW, HIGH = 1.0, 99.5  # percentiles of tissue
DARK = 0.1  # share of full scale that the low percentile is mapped to; the high one is full scale


def stretched(image: np.ndarray, bits: int, intensity: str) -> np.ndarray:
    """uint16[h, w]: the crop with its tissue's percentiles 1 and 99.5 mapped to a tenth and to all of full scale.

    intensity: "percentiles", or "none", which gives the crop back. image: uint16[h, w] in [0, 2**bits - 1]; 0 is
    background and stays 0. A crop whose tissue has one value is not changed.
    """
    if intensity == "none":
        return image
    tissue = image[image > 0]
    low, high = np.percentile(tissue, [LOW, HIGH]) if tissue.size else (0, 0)
    if not high > low:
        return image
    full = 2**bits - 1
    spread = full * (DARK + (1 - DARK) * (image.astype(np.float32) - low) / (high - low))
    return np.where(image > 0, np.clip(np.rint(spread), 1, full), 0).astype(np.uint16)
