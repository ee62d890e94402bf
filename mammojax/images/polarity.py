"""Whether a picture shows the air around the breast white: a film that nobody has inverted, or somebody once too often."""

import numpy as np
from scipy import ndimage

_ROWS = 128  # of the reduced copy, about
_BORDER = 0.04  # of the shorter side: the frame that is looked at
_EVEN = 0.02  # of the range of greys: how little a pixel differs from its neighbours where there is air
_LEAST = 0.4  # share of the frame that must be even; breasts that fill the frame leave a third of it or less
_WHITE = 0.9  # of the range of greys


def looks_inverted(pixels: np.ndarray) -> bool:
    """Whether the even part of the frame, which is air, is as bright as the brightest of the picture.

    pixels: uint16[h, w]. Negatives of breasts that fill the frame are not found.
    """
    step = max(1, max(pixels.shape) // _ROWS)
    small = ndimage.gaussian_filter(pixels[::step, ::step].astype(np.float32), 0.7)
    low, high = np.quantile(small, [0.005, 0.995])
    grey = np.clip((small - low) / max(high - low, 1e-6), 0, 1)
    even = ndimage.maximum_filter(grey, 3) - ndimage.minimum_filter(grey, 3) < _EVEN
    frame = np.ones(grey.shape, bool)
    width = max(1, round(_BORDER * min(grey.shape)))
    frame[width:-width, width:-width] = False
    air = even & frame
    return air.sum() > _LEAST * frame.sum() and float(np.median(grey[air])) > _WHITE
