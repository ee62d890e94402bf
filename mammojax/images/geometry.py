"""The exact way between the pixels of a crop and those of the original file.

Convention: a point is (row, column), and the centre of pixel [i, j] is the point (i, j), so that pixel covers
[i - 1/2, i + 1/2]. Scaling keeps the picture's edges in place, not the centres of its outer pixels.
"""

import json
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Box:
    """A rectangle of whole pixels of the original: rows top ... top + height - 1, columns left ... left +
    width - 1.
    """

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Indexes the box's pixels: `pixels[box.slices]`."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


@dataclass(frozen=True)
class Geometry:
    """An affine map per axis from a derived picture to its original: original = scale * derived + offset.

    Start from `Geometry()`, the picture itself, and tell what is done to it, in order:
    `Geometry().cropped(box).flipped(box.width).scaled(0.5, 0.5)`. Each step is given in the coordinates of
    the picture that it is applied to. Crops, flips and pads have integer coefficients and are exact; scales
    are exact to float64.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def cropped(self, box: Box) -> "Geometry":
        """The map of the picture cut to `box`."""
        return self._before((1.0, 1.0), (float(box.top), float(box.left)))

    def flipped(self, width: int) -> "Geometry":
        """The map of the picture with its columns reversed. width: of the picture, in pixels."""
        return self._before((1.0, -1.0), (0.0, float(width - 1)))

    def scaled(self, rows: float, columns: float) -> "Geometry":
        """The map of the picture resampled. rows, columns: new pixels per old pixel along each axis, above
        0.
        """
        if not (rows > 0 and columns > 0):
            raise ValueError(f"scales must be positive, got {rows} and {columns}")
        return self._before((1 / rows, 1 / columns), (0.5 / rows - 0.5, 0.5 / columns - 0.5))

    def padded(self, top: int, left: int) -> "Geometry":
        """The map of the picture with `top` rows and `left` columns put before it (negative: taken away)."""
        return self._before((1.0, 1.0), (-float(top), -float(left)))

    def to_original(self, points: np.ndarray) -> np.ndarray:
        """float64[n, 2]: (row, column) in the original of points (row, column) in the derived picture."""
        return np.asarray(points, np.float64) * self.scale + self.offset

    def from_original(self, points: np.ndarray) -> np.ndarray:
        """float64[n, 2]: (row, column) in the derived picture of points (row, column) in the original."""
        return (np.asarray(points, np.float64) - self.offset) / self.scale

    def to_json(self) -> str:
        """One line of JSON; `from_json` gives the same bits back."""
        return json.dumps({"scale": self.scale, "offset": self.offset})

    @classmethod
    def from_json(cls, text: str) -> "Geometry":
        """The inverse of `to_json`."""
        value = json.loads(text)
        return cls(scale=tuple(map(float, value["scale"])), offset=tuple(map(float, value["offset"])))

    def _before(self, scale: tuple[float, float], offset: tuple[float, float]) -> "Geometry":
        """The composition with one more step, older = scale * newer + offset."""
        return Geometry(
            scale=(self.scale[0] * scale[0], self.scale[1] * scale[1]),
            offset=(self.scale[0] * offset[0] + self.offset[0], self.scale[1] * offset[1] + self.offset[1]),
        )
