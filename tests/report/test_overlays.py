"""Maps of new files on disk: numbers for names, and values that lead back to pixels of the original."""

import io

import numpy as np
from PIL import Image

from mammojax.experiment.predict import FileMap
from mammojax.images.geometry import Box, Geometry
from mammojax.report.overlays import write_overlays


def test_a_map_is_named_by_its_row_and_leads_back_to_the_file(tmp_path):
    rows, columns = np.meshgrid(16 + 32.0 * np.arange(6), 16 + 32.0 * np.arange(4), indexing="ij")
    scores = np.linspace(-1.0, 1.0, 24).reshape(6, 4)
    scores[5, 3], scores[2, 1] = np.nan, 2.5
    geometry = Geometry().cropped(Box(100, 40, 192, 128)).flipped(128)
    picture = np.tile(np.linspace(0, 255, 128).astype(np.uint8), (192, 1))
    made = FileMap(6, scores, np.stack([rows, columns], -1), geometry, picture)
    assert write_overlays(tmp_path, [made]) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00007.npz", "00007.png"]
    with np.load(tmp_path / "00007.npz", allow_pickle=False) as held:
        assert np.array_equal(held["scores"], scores, equal_nan=True)
        highest = held["centres"][np.unravel_index(np.nanargmax(held["scores"]), scores.shape)]
        # row 100 + 80; the crop is mirrored: column 40 + 127 - 48
        assert (held["scale"] * highest + held["offset"]).tolist() == [180.0, 119.0]
    drawn = np.asarray(Image.open(io.BytesIO((tmp_path / "00007.png").read_bytes())).convert("RGB"), int)
    coloured = np.ptp(drawn, axis=-1) > 40
    half = drawn.shape[1] // 2
    assert not coloured[:, :half].any() and coloured[:, half:].mean() > 0.2  # the map is on the right alone
