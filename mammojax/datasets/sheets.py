"""Many films on few pages, each with its breast box and the outline of its mask: to be looked at."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mammojax.images.geometry import Box

_CELL = 200  # pixels of a film's longer side, at most
_LINE = 16  # pixels of a caption
_BOX_COLOUR, _OUTLINE_COLOUR, _PAPER, _INK = (255, 200, 0), (0, 220, 255), (40, 40, 40), (240, 240, 240)


def contact_sheet(
    films: Iterable[tuple[np.ndarray, int, Box | None, np.ndarray | None, str]],
    folder: Path,
    *,
    columns: int = 7,
    rows: int = 4,
) -> list[Path]:
    """The PNG pages that were written, `sheet_001.png` and so on in `folder`, which is made if it is absent.

    films: (pixels, bits, box, mask, caption) each: pixels uint16[h, w] in [0, 2**bits - 1]; box in those
    pixels or None; mask bool[h, w] or None. They are drawn one by one, so an iterator over a large set is
    fine. Dark values are lifted (square root), so that the skin and the scanner's marks can be seen.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    films, pages = iter(films), []
    while page := list(islice(films, columns * rows)):
        sheet = Image.new("RGB", (columns * (_CELL + 4), rows * (_CELL + _LINE + 4)), _PAPER)
        draw = ImageDraw.Draw(sheet)
        for i, (pixels, bits, box, mask, caption) in enumerate(page):
            left, top = (i % columns) * (_CELL + 4) + 2, (i // columns) * (_CELL + _LINE + 4) + 2
            film = _film(pixels, bits, box, mask)
            sheet.paste(film, (left + (_CELL - film.width) // 2, top))
            draw.text((left + 2, top + _CELL + 1), caption.rpartition("/")[2][-32:], fill=_INK)
        path = folder / f"sheet_{len(pages) + 1:03d}.png"
        sheet.save(path)
        pages.append(path)
    return pages


def _film(pixels: np.ndarray, bits: int, box: Box | None, mask: np.ndarray | None) -> Image.Image:
    height, width = pixels.shape
    shrink = max(height, width) / _CELL
    size = max(1, round(width / shrink)), max(1, round(height / shrink))
    step = max(1, int(shrink / 3))  # enough pixels for a smooth reduction, not all of a large film
    grey = np.sqrt(pixels[::step, ::step].astype(np.float32) / (2**bits - 1)) * 255
    film = Image.fromarray(grey.astype(np.uint8)).resize(size, Image.Resampling.BOX).convert("RGB")
    if mask is not None:
        inside = np.asarray(Image.fromarray(mask[::step, ::step]).resize(size, Image.Resampling.NEAREST))
        core = inside.copy()
        core[1:] &= inside[:-1]
        core[:-1] &= inside[1:]
        core[:, 1:] &= inside[:, :-1]
        core[:, :-1] &= inside[:, 1:]
        drawn = np.array(film)
        drawn[inside & ~core] = _OUTLINE_COLOUR
        film = Image.fromarray(drawn)
    if box is not None:
        left, top = box.left / shrink, box.top / shrink
        right = max(left, (box.left + box.width) / shrink - 1)
        bottom = max(top, (box.top + box.height) / shrink - 1)
        ImageDraw.Draw(film).rectangle((left, top, right, bottom), outline=_BOX_COLOUR)
    return film
