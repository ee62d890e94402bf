"""`launch.plan` as it is used: words and pictures of a crop's plan, or one line of what is wrong."""

import numpy as np
import pytest
from PIL import Image
from program import error_line, run

from mammojax.images.breast import crop_breast
from mammojax.images.reading.any_file import read_mammogram
from mammojax.models.backbones import vgg_m
from mammojax.models.plans import plan


def test_a_film_is_cropped_as_in_preparation_told_and_drawn(tmp_path):
    rows, columns = np.mgrid[:600, :400]
    inside = (rows - 300) ** 2 / 250**2 + columns**2 / 260**2 < 1
    pixels = np.where(inside, 1200 + rows + columns, 20).astype(np.uint16)
    file = tmp_path / "film.png"
    Image.fromarray(pixels).save(file)
    done = run("launch.plan", "--backbone=vgg_m", "--np=5", f"--image={file}", f"--out={tmp_path / 'out'}")
    assert done.returncode == 0 and not done.stderr, done.stderr  # no warning of random weights either
    crop = crop_breast(read_mammogram(file.read_bytes(), file.name)).image
    assert crop.shape != pixels.shape
    chosen = plan(crop.shape, vgg_m.BACKBONE, 5)
    assert chosen.describe() in done.stdout and chosen.account() in done.stdout
    assert "82,020,800 parameters" in done.stdout and "compiled program" in done.stdout
    for name in ("graph.png", "windows.png"):
        picture = Image.open(tmp_path / "out" / name)
        assert picture.width == 1200 and len(picture.convert("RGB").getcolors(2**20)) > 20


def test_a_size_alone_is_told_and_nothing_is_written(tmp_path):
    done = run("launch.plan", "--tap=stride8", "--np=4", "--crop=300,200")
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "efficientnet_lite0 stride8" in done.stdout and "window maxima" in done.stdout
    assert ".png" not in done.stdout and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "flags, says",
    [
        ([], "give either --crop=ROWS,COLUMNS or --image=FILE"),
        (["--crop=4084x3328"], "--crop is '4084x3328'; expected rows,columns"),
        (["--image=setup.cfg"], "setup.cfg cannot be used: a text file"),
        (["--image=absent.dcm"], "--image=absent.dcm is no file"),
        (["--crop=9,9", "--backbone=resnet"], "unknown backbone 'resnet'"),
        (["--crop=9,9", "--tap=fc9"], "unknown tap 'fc9' of efficientnet_lite0; known are stride16"),
        (["--crop=9,9", "--padding=valid"], "padding is 'valid'; efficientnet_lite0 is read with own"),
        (["--crop=9,9", "--padding=zero"], "--padding=zero"),
        (["--crop=9,9", "--max_side=-1"], "--max_side is -1"),
        (["--crop=9,9", "--weights=absent"], "absent is absent"),
    ],
)
def test_what_a_user_can_mend_is_one_line(flags, says):
    assert says in error_line(run("launch.plan", *flags))


def test_help_names_the_flags_and_an_example():
    done = run("launch.plan", "--help")
    assert done.returncode == 0 and not done.stderr
    for part in ("python -m launch.plan", "--crop=", "--image=", "--padding=", "--out="):
        assert part in done.stdout
