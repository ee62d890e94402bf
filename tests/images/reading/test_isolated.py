"""A file that kills its decoder costs that file alone."""

import os

import numpy as np
from PIL import Image

from mammojax.images.reading import isolated
from mammojax.images.reading.isolated import CRASHED, read_crops


def test_files_after_one_that_kills_the_process_are_read_in_order(tmp_path, monkeypatch):
    rows, columns = np.mgrid[:200, :150]
    breast = np.where((rows - 100) ** 2 / 80**2 + columns**2 / 100**2 < 1, 200 - rows // 4, 3).astype(
        np.uint8
    )
    paths = []
    for k in range(5):
        paths.append(tmp_path / f"{'deadly' if k in (1, 2) else 'good'}{k}.png")
        Image.fromarray(breast + k).save(paths[-1])
    (tmp_path / "sitecustomize.py").write_text(  # the child dies as a decoder's SIGABRT kills it
        "import sys, os, importlib.abc, importlib.util\n"
        "class Finder(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name != 'mammojax.images.reading.isolated': return None\n"
        "        sys.meta_path.remove(self)\n"
        "        import mammojax.images.reading.any_file as reading\n"
        "        real = reading.read_mammogram\n"
        "        def read(data, name, **options):\n"
        "            if 'deadly' in name: os.abort()\n"
        "            return real(data, name, **options)\n"
        "        reading.read_mammogram = read\n"
        "        return importlib.util.find_spec('mammojax.images.reading.isolated')\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.getcwd()}")
    found = list(read_crops(paths, margin=0.02, for_processing="log"))
    assert [isinstance(f, str) and f for f in found] == [False, CRASHED, CRASHED, False, False]
    assert [int(f[0].pixels.min()) for f in found if not isinstance(f, str)] == [3, 6, 7]


def test_a_file_that_is_absent_or_no_picture_gets_its_reason(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    absent, text = (isolated.read_crop(tmp_path / n, 0.02, "log") for n in ("none.png", "text.png"))
    assert absent == "cannot be read: No such file or directory" and isinstance(text, str)
