"""The converter as it is used: published file in, checksummed file out, or one line and nothing written."""

import struct
import subprocess

import numpy as np
import pytest
from program import error_line, run

from mammojax.errors import UserError
from mammojax.models.backbones import vgg_16
from mammojax.models.backbones.efficientnet_lite import LITE0
from mammojax.models.scanning import load_backbone
from mammojax.models.weights.converted import read_weights
from mammojax.models.weights.random import random_layers


def convert(backbone, source, out, **options):
    return run(
        "launch.convert_weights", f"--backbone={backbone}", f"--source={source}", f"--out={out}", **options
    )


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory):
    """Keras' VGG-16 without its head: the published shapes, random numbers."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed (pip install h5py)")
    path = tmp_path_factory.mktemp("keras") / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    with h5py.File(path, "w") as file:
        for name, layer in random_layers(vgg_16.SHAPES, 7).items():
            group = file.create_group(name.replace("conv", "block").replace("_", "_conv"))
            for part, letter in (("kernel", "W"), ("bias", "b")):
                group[f"{group.name[1:]}_{letter}_1:0"] = layer[part]
    return path


def test_a_published_file_becomes_one_that_the_backbone_loads(keras_file, tmp_path):
    done = convert("vgg_16", keras_file, tmp_path / "vgg_16.safetensors")
    assert done.returncode == 0 and not done.stderr, done.stderr
    for part in (
        "13 layers",
        "14,714,688 numbers",
        keras_file.name,
        "BGR",
        "means 103.939, 116.779, 123.680",
    ):
        assert part in done.stdout
    network = load_backbone("vgg_16", weights=str(tmp_path / "vgg_16.safetensors"))
    assert keras_file.name in network.provenance and network.tap == "pool5"
    expected = vgg_16.grey(random_layers(vgg_16.SHAPES, 7), vgg_16.KERAS)
    for name, layer in network.variables().items():
        assert np.array_equal(layer["kernel"], expected[name]["kernel"]), name
    assert [p.name for p in tmp_path.iterdir()] == ["vgg_16.safetensors"]


def test_the_file_of_the_installed_efficientnet_lite0_is_converted_with_its_checksum(tmp_path):
    try:
        source = LITE0.installed()
    except UserError as error:
        pytest.skip(str(error))
    done = convert("efficientnet_lite0", source, tmp_path / "lite.safetensors")
    assert done.returncode == 0 and not done.stderr, done.stderr
    facts = read_weights(tmp_path / "lite.safetensors", "efficientnet_lite0").facts
    expected = subprocess.run(
        ["sha256sum", source], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    assert facts["source_sha256"] == expected and expected in done.stdout


def test_help_names_the_flags_and_an_example():
    done = run("launch.convert_weights", "--help")
    assert done.returncode == 0 and not done.stderr
    for part in ("python -m launch.convert_weights", "--backbone=", "--source=", "--out="):
        assert part in done.stdout


@pytest.mark.parametrize("backbone", ["vgg_m", "vgg_16", "efficientnet_lite0"])
def test_a_file_of_something_else_is_one_line_and_nothing_is_written(tmp_path, backbone):
    source, out = tmp_path / "source", tmp_path / "out"
    # a pickle that runs a command when it is loaded
    source.write_bytes(b"\x80\x02cposix\nsystem\nX\x10\x00\x00\x00touch was_run.txt\x85R.")
    assert "cannot be read as" in error_line(convert(backbone, source, out, cwd=tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_what_was_given_wrongly_is_said(tmp_path):
    (tmp_path / "w").write_bytes(b"x")
    known = "expected one of efficientnet_lite0, efficientnet_lite1, efficientnet_lite2, vgg_m, vgg_16"
    assert known in error_line(convert("vgg", tmp_path / "w", tmp_path / "o"))
    assert "--source is '', which is no file" in error_line(convert("vgg_m", "", tmp_path / "o"))
    assert "the source itself" in error_line(convert("vgg_m", tmp_path / "w", tmp_path / "w"))


def test_a_file_that_kills_the_library_that_reads_it_is_one_line_too(tmp_path):
    (tmp_path / "h5py.py").write_text("import os\nos.abort()\n")  # found first, and dies as a C library would
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n".ljust(100))
    line = error_line(convert("vgg_16", tmp_path / "w.h5", tmp_path / "o", cwd=tmp_path))
    assert "w.h5 killed the process that read it" in line
    assert not (tmp_path / "o").exists()


def test_memory_that_a_forged_file_asks_for_is_not_taken_from_the_machine(tmp_path):
    pytest.importorskip("resource", reason="this system has no limit on a process's memory")

    def element(kind, data):
        return struct.pack("<II", kind, len(data)) + data.ljust(-(-len(data) // 8) * 8, b"\0")

    # a MATLAB text of 2^33 letters, none of which is there
    array = element(6, struct.pack("<II", 4, 0)) + element(5, struct.pack("<ii", 2**17, 2**16))
    array += element(1, b"layers") + element(16, b"")
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49)
    (tmp_path / "w.mat").write_bytes(header + element(14, array))
    line = error_line(convert("vgg_m", tmp_path / "w.mat", tmp_path / "o"))
    assert "cannot be read as a MATLAB file" in line
