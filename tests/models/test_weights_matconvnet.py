"""MatConvNet files of both published forms, with few channels; and files of other networks, damaged or of another kind."""

import numpy as np
import pytest
import scipy.io

from mammojax.errors import UserError
from mammojax.models.backbones import vgg_m

WIDTHS = {"conv1": (7, 3, 5), "conv2": (5, 5, 6), "conv3": (3, 6, 4), "conv4": (3, 4, 4), "conv5": (3, 4, 4)}
WIDTHS |= {"fc6": (6, 4, 8), "fc7": (1, 8, 8), "fc8": (1, 8, 10)}
GEOMETRY = {
    "conv1": (2, 0),
    "conv2": (2, 1),
    "conv3": (1, 1),
    "conv4": (1, 1),
    "conv5": (1, 1),
}  # stride, pad
POOL_PADS = {"pool1": [0, 0, 0, 0], "pool2": [0, 1, 0, 1], "pool5": [0, 0, 0, 0]}  # of 109, 26 and 13 cells
AVERAGE = (122.75, 114.875, 101.5)  # RGB, exact in float32


def cell(*values):
    found = np.empty((1, len(values)), object)
    for i, value in enumerate(values):
        found[0, i] = value
    return found


def network(form="new"):
    """(layers, {name: (kernel HWIO in RGB, bias)}) in the order of the published file."""
    rng = np.random.default_rng(0)
    kernels, layers = {}, []

    def conv(name):
        k, a, b = WIDTHS[name]
        kernel, bias = (rng.normal(size=s).astype(np.float32) for s in ((k, k, a, b), b))
        kernels[name] = kernel, bias
        stride, pad = GEOMETRY.get(name, (1, 0))
        layer = {"name": name, "type": "conv", "stride": [float(stride)] * 2, "pad": [float(pad)] * 4}
        if form == "new":
            layer |= {"weights": cell(kernel, bias[:, None]), "size": np.asarray(kernel.shape, float)}
            layer |= {"precious": 0.0, "dilate": 1.0, "opts": cell()}
        else:
            layer |= {"filters": kernel, "biases": bias[None]}
        layers.append(layer)
        if name != "fc8":
            layers.append(
                {"name": name.replace("conv", "relu"), "type": "relu"}
                | ({"leak": 0.0} if form == "new" else {})
            )

    def lrn(name):
        layers.append(
            {"name": name, "type": "lrn" if form == "new" else "normalize", "param": [5, 2, 1e-4, 0.75]}
        )

    def pool(name):
        layer = {"name": name, "type": "pool", "method": "max", "pool": [3.0, 3.0], "stride": [2.0, 2.0]}
        layers.append(layer | {"pad": np.asarray(POOL_PADS[name], float)})

    for number in "12":
        conv(f"conv{number}")
        lrn(f"norm{number}")
        pool(f"pool{number}")
    for number in "345":
        conv(f"conv{number}")
    pool("pool5")
    for name in ("fc6", "fc7", "fc8"):
        conv(name)
        if form == "new" and name != "fc8":
            layers.append({"name": f"dropout{name}", "type": "dropout", "rate": 0.5})
    layers.append({"name": "prob", "type": "softmax"})
    return layers, kernels


def save(path, layers, form="new", average=None, **options):
    picture = np.broadcast_to(np.asarray(AVERAGE, np.float32), (8, 8, 3)) if average is None else average
    normalisation = {"imageSize": [224.0, 224.0, 3.0], "averageImage": picture, "interpolation": "bilinear"}
    classes = {"name": cell("n01440764", "n01443537"), "description": cell("tench", "goldfish")}
    content = {"layers": cell(*layers)}
    if form == "new":
        content["meta"] = {"classes": classes, "normalization": normalisation}
    else:
        content |= {"classes": classes, "normalization": normalisation}
    scipy.io.savemat(path, content, **options)


@pytest.fixture
def few_channels(monkeypatch):
    shapes = {name: (k, k, a, b) for name, (k, a, b) in WIDTHS.items() if name in vgg_m.SHAPES}
    monkeypatch.setattr(vgg_m, "SHAPES", shapes)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("form", ["new", "old"])
def test_both_published_forms_are_read_and_turned_to_bgr(tmp_path, few_channels, form, compressed):
    layers, kernels = network(form)
    path = tmp_path / "m.mat"
    save(path, layers, form, do_compression=compressed)
    found = vgg_m.convert(path)
    assert list(found.layers) == list(vgg_m.SHAPES)
    for name in vgg_m.SHAPES:
        kernel, bias = kernels[name]
        expected = kernel[:, :, [2, 1, 0]] if name == "conv1" else kernel
        assert np.array_equal(found.layers[name]["kernel"], expected), name
        assert np.array_equal(found.layers[name]["bias"], bias), name
    assert found.recipe.order == "BGR" and found.recipe.means == AVERAGE[::-1]
    assert found.recipe.deviations == (1, 1, 1)
    assert "mean colour of its average image" in found.facts["source_format"]


def test_the_converted_network_is_the_files_own_on_a_grey_image(tmp_path, few_channels):
    layers, kernels = network()
    save(tmp_path / "m.mat", layers)
    found = vgg_m.convert(tmp_path / "m.mat")
    grey = np.random.default_rng(1).uniform(0, 255, (7, 7))
    # as MatConvNet's users write it: RGB, the average off, a correlation
    kernel, bias = kernels["conv1"]
    expected = np.einsum("hwc,hwco->o", grey[..., None] - AVERAGE, kernel.astype(np.float64)) + bias
    one = vgg_m.grey(found.layers, found.recipe)["conv1"]
    response = np.einsum("hw,hwo->o", grey, one["kernel"][:, :, 0].astype(np.float64)) + one["bias"]
    # float32 kernels and bias against float64: the mean times 147 weights is rounded once
    assert np.abs(response - expected).max() < 1e-6 * 122 * np.abs(kernel).sum((0, 1, 2)).max()


@pytest.mark.parametrize("shape", [(3,), (1, 1, 3)])
def test_an_average_of_one_colour_is_that_colour(tmp_path, few_channels, shape):
    save(tmp_path / "m.mat", network()[0], average=np.reshape((123.68, 116.779, 103.939), shape))
    found = vgg_m.convert(tmp_path / "m.mat")
    assert found.recipe.means == (103.939, 116.779, 123.68)
    assert found.facts["source_format"].endswith("means: its average colour")


def change(name, **fields):
    def apply(layers):
        layer = next(layer for layer in layers if layer["name"] == name)
        for field, value in fields.items():
            layer[field] = value

    return apply


def leave_out(name):
    def apply(layers):
        layers[:] = [layer for layer in layers if layer["name"] != name]

    return apply


@pytest.mark.parametrize(
    "wrong, says",
    [
        (change("conv1", stride=[4.0, 4.0]), r"layer conv1: stride is \(4, 4\), expected \(2, 2\)"),
        (
            change("conv2", pad=[1.0, 2.0, 1.0, 2.0]),
            r"layer conv2: pad is \(1, 2, 1, 2\), expected \(1, 1, 1, 1\)",
        ),
        (change("conv3", dilate=2.0), "layer conv3: dilate is"),
        (change("conv3", weights=cell(np.zeros((5, 5, 6, 4)), np.zeros(4))), "layer conv3: kernel is"),
        (
            change("conv3", weights=cell(np.zeros((3, 3, 9, 4)), np.zeros(4))),
            r"conv3.kernel is .*expected \[3, 3, 6",
        ),
        (change("fc6", weights=cell(np.full((6, 6, 4, 8), np.inf), np.zeros(8))), "fc6.kernel holds numbers"),
        (
            change("norm1", param=[5, 1, 1e-4, 0.75]),
            r"layer norm1: param is .*expected \(5, 2, 0.0001, 0.75\)",
        ),
        (change("norm2", param=[5, 2, 5e-4, 0.75]), "layer norm2: param is"),
        (change("relu1", leak=0.1), "layer relu1: leak is 0.1"),
        (change("pool1", method="avg"), "layer pool1: method is avg"),
        (change("pool2", pad=[0.0, 0.0, 0.0, 0.0]), "layer pool2: output for 26 pixels is 12, expected 13"),
        (change("pool5", pad=[1.0, 0.0, 1.0, 0.0]), "layer pool5: pad above and left"),
        (change("pool5", pool=[2.0, 2.0]), "layer pool5: pool is"),
        (leave_out("norm1"), "layer pool1: type is pool, expected lrn"),
        (leave_out("conv4"), "layer relu4: type is relu, expected conv"),
        (lambda layers: layers.__delitem__(slice(9, None)), "ends before"),
        (change("conv1", weights="none"), "layer conv1 cannot be understood"),
        (lambda layers: layers[0].pop("stride"), "layer conv1 cannot be understood"),
        (lambda layers: layers[2].pop("type"), "is no network of MatConvNet"),
    ],
)
def test_a_file_of_another_network_is_refused_with_the_layer_and_what_is_expected(
    tmp_path, few_channels, wrong, says
):
    layers, _ = network()
    wrong(layers)
    save(tmp_path / "m.mat", layers)
    with pytest.raises(UserError, match=says) as caught:
        vgg_m.convert(tmp_path / "m.mat")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "average", [AVERAGE[::-1], (0.485, 0.456, 0.406), (0.0, 0.0), np.zeros((4, 4)), (float("nan"),) * 3]
)
def test_an_average_that_is_not_imagenets_colour_in_rgb_is_refused(tmp_path, few_channels, average):
    save(tmp_path / "m.mat", network()[0], average=np.asarray(average, float))
    with pytest.raises(UserError, match=r"average colour is .*\(RGB\)|is no network of MatConvNet"):
        vgg_m.convert(tmp_path / "m.mat")


def test_a_file_of_matlab_7_3_says_how_to_save_it(tmp_path):
    path = tmp_path / "m.mat"
    for data in (b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512), b"\x89HDF\r\n\x1a\n".ljust(512)):
        path.write_bytes(data)
        with pytest.raises(UserError, match='is of MATLAB 7.3.*save it with the option "-v7"'):
            vgg_m.convert(path)


@pytest.mark.parametrize(
    "content", [{"x": np.zeros(3)}, {"layers": np.zeros(3)}, {"layers": {"name": "conv1"}}]
)
def test_a_matlab_file_of_something_else_is_refused(tmp_path, content):
    scipy.io.savemat(tmp_path / "m.mat", content)
    with pytest.raises(UserError, match="is no network of MatConvNet"):
        vgg_m.convert(tmp_path / "m.mat")


@pytest.mark.parametrize("compressed", [False, True])
def test_truncated_damaged_and_foreign_files_are_one_line_errors_or_still_the_network(
    tmp_path, few_channels, compressed
):
    path, rng = tmp_path / "m.mat", np.random.default_rng(0)
    save(path, network()[0], do_compression=compressed)
    whole, names = path.read_bytes(), set(vgg_m.SHAPES)
    files = [whole[:n] for n in (0, 1, 100, 128, 140, len(whole) // 3, len(whole) // 2, len(whole) - 20)]
    files += [b"text", rng.bytes(1000)]
    for _ in range(60):  # bytes changed in the header and the first structs, where the names and sizes are
        changed = bytearray(whole)
        changed[rng.integers(128, 3000)] ^= 1 << rng.integers(8)
        files.append(bytes(changed))
    refused = 0
    for data in files:
        path.write_bytes(data)
        try:
            assert set(vgg_m.convert(path).layers) == names
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused >= 10
