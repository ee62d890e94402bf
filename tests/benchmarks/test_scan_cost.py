"""Operations are counted as the literature counts them, and the peers of the benchmark are the same function."""

import time

import jax
import numpy as np
import pytest

from mammojax.benchmarks.scan import peers as scan_peers
from mammojax.benchmarks.scan.cost import Reading, layer_costs
from mammojax.benchmarks.scan.layers import prepared_layers
from mammojax.benchmarks.scan.memory import measured_alone
from mammojax.benchmarks.scan.programs import Program, compile_program, network_to_measure
from mammojax.benchmarks.scan.throughput import peak_rate, throughputs
from mammojax.models.backbones import vgg_m
from mammojax.models.backbones.efficientnet_lite import LITE0
from mammojax.models.plans import plan
from mammojax.models.scanning import ScanningNetwork

SIDE = 231  # VGG-M gives 2 x 2 cells at stride 2; no side of a map within is even all the way


def shapes_only(kernels: dict) -> dict:
    """Variables whose numbers do not matter, and take no memory."""
    return {
        name: {"kernel": np.broadcast_to(np.float32(0), shape), "bias": np.zeros(shape[-1], np.float32)}
        for name, shape in kernels.items()
    }


def test_vgg_m_has_the_multiply_adds_of_its_maps():
    # 224 pixels: maps of 109, 54, 26, 13 and 6 cells a side, written down by hand from the published description
    by_hand = {
        "conv1": 109**2 * 7 * 7 * 1 * 96,
        "conv2": 26**2 * 5 * 5 * 96 * 256,
        "conv3": 13**2 * 3 * 3 * 256 * 512,
        "conv4": 13**2 * 3 * 3 * 512 * 512,
        "conv5": 13**2 * 3 * 3 * 512 * 512,
        "fc6": 6 * 6 * 512 * 4096,
    }
    variables = shapes_only(vgg_m.SHAPES | {"conv1": (7, 7, 1, 96)})
    costs = layer_costs(Reading("vgg_m", "fc6", (224, 224)), variables)
    assert {cost.name: cost.operations for cost in costs if cost.operations} == {
        name: 2 * count for name, count in by_hand.items()
    }
    assert costs[0].input_shape == (1, 224, 224, 1) and costs[-1].output_shape == (1, 1, 1, 4096)


def test_efficientnet_lite0_has_the_published_multiply_adds():
    # 0.385e9 for a colour image of 224 x 224 with the classifier of 1000 classes (README of d-li14/efficientnet-lite.pytorch,
    # the authors' own table says 407 million, by a count that it does not explain); the grey network has a third of the
    # stem and no classifier
    variables = shapes_only(LITE0.grey_shapes())
    costs = layer_costs(Reading("efficientnet_lite0", "head", (224, 224)), variables)
    multiplied = sum(cost.operations for cost in costs) / 2
    colour_and_classes = 112**2 * 3 * 3 * 2 * 32 + 1280 * 1000
    assert multiplied + colour_and_classes == pytest.approx(385e6, abs=0.5e6)  # three digits


def test_a_larger_first_stride_leaves_fewer_operations_in_every_convolution():
    variables = shapes_only(vgg_m.SHAPES | {"conv1": (7, 7, 1, 96)})
    fine, coarse = (layer_costs(Reading("vgg_m", "fc6", (480, 480), (s, s)), variables) for s in (2, 4))
    assert all(a.operations > 3 * b.operations for a, b in zip(fine, coarse) if a.operations)


@pytest.fixture(scope="module")
def thin() -> ScanningNetwork:
    """VGG-M's wiring with few channels, weights that keep every layer away from zero."""
    rng, channels = np.random.default_rng(0), {"conv1": (7, 1, 12), "conv2": (5, 12, 16)}
    channels |= {"conv3": (3, 16, 16), "conv4": (3, 16, 16), "conv5": (3, 16, 16), "fc6": (6, 16, 24)}
    variables = {
        name: {
            "kernel": rng.normal(0, np.sqrt(2 / (k * k * a)), (k, k, a, b)).astype(np.float32),
            "bias": rng.normal(0, 0.1, b).astype(np.float32),
        }
        for name, (k, a, b) in channels.items()
    }
    network = ScanningNetwork("vgg_m", "fc6", variables, "random", "thin")
    network.channels = channels["fc6"][-1]  # not the published 4096
    return network


def read_by(name, reading, network) -> np.ndarray:
    pixels = np.random.default_rng(1).random((1, *reading.shape, 1), np.float32)
    program = scan_peers.prepare(name, reading, network.variables(), pixels)
    return program.unpacked(program.call())


PEERS = ["jax", "torch contiguous", "torch channels_last"]


@pytest.mark.parametrize("tap", ["fc6", "pool5"])
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_of_vgg_m_is_the_same_function(thin, name, tap):
    if name.startswith("torch"):
        pytest.importorskip("torch")
    reading = Reading("vgg_m", tap, (SIDE, SIDE + 22), (2, 2))
    network = ScanningNetwork("vgg_m", tap, thin.variables(), "random", "thin")
    expected = read_by("mammojax", reading, network)
    found = read_by(name, reading, network)
    # float32 sums of up to 600 products in another order, six layers deep; an alpha that is not divided by 5 is 0.6 off
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_of_efficientnet_lite0_is_the_same_function(name):
    if name.startswith("torch"):
        pytest.importorskip("torch")
    network = network_to_measure("efficientnet_lite0", "stride16")
    reading = Reading(
        "efficientnet_lite0", "stride16", (70, 102)
    )  # odd maps: padding is uneven in some layers only
    expected = read_by("mammojax", reading, network)
    # sums in another order, 33 layers deep
    np.testing.assert_allclose(
        read_by(name, reading, network), expected, rtol=0, atol=5e-5 * np.abs(expected).max()
    )


def test_every_layer_is_prepared_on_the_map_that_it_gets(thin):
    reading = Reading("vgg_m", "fc6", (SIDE, SIDE), (2, 2))
    pixels = np.random.default_rng(1).random((1, SIDE, SIDE, 1), np.float32)
    prepared = {cost.name: call() for cost, call in prepared_layers(reading, thin.variables(), pixels)}
    # one layer after the other is the network, whose own first three are read in strips on a CPU
    whole = read_by("mammojax", reading, thin)
    np.testing.assert_allclose(prepared["fc6"], whole, rtol=0, atol=2e-5 * np.abs(whole).max())
    strips = prepared["conv1 to pool1 in strips"]
    np.testing.assert_allclose(strips, prepared["pool1"], rtol=0, atol=2e-6 * np.abs(strips).max())


@pytest.mark.parametrize("name", ["scan", "training step"])
def test_a_compiled_program_states_at_least_what_it_must_hold(thin, name):
    chosen = plan((200, 180), vgg_m.BACKBONE, 2)
    program = compile_program(name, thin, chosen, batch=2)
    parameters = sum(p.size for layer in thin.variables().values() for p in layer.values())
    pixels = 2 * chosen.input_shape[0] * chosen.input_shape[1]
    # a step holds parameters and two moments of each
    assert program.stated > 4 * (pixels + parameters * (3 if name == "training step" else 1))
    first, second = np.asarray(program.call()), np.asarray(program.call())
    assert np.isfinite(first).all()
    if name == "training step":
        assert second != first  # the state went on
    else:
        np.testing.assert_array_equal(first, second)


def test_the_peak_of_a_process_of_its_own_holds_the_program():
    found = measured_alone("scan", "efficientnet_lite0", (64, 40), 1)
    assert found.stated > 4 * 64 * 48 and found.seconds > 0 and "to 1 x 1 cells" in found.plan
    if found.peak is not None:  # Linux tells
        assert found.peak > found.stated


@pytest.mark.parametrize("name, times", [("scan", 1), ("training step", 3)])
def test_throughput_grows_the_batch_until_memory_is_full(thin, monkeypatch, name, times):
    def compiled(program, network, chosen, *, batch, dtype):
        assert program == name and dtype == jax.numpy.bfloat16
        if batch > 4:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return Program(lambda: time.sleep(0.01 * batch), None)

    monkeypatch.setattr("mammojax.benchmarks.scan.throughput.compile_program", compiled)
    monkeypatch.setattr("mammojax.benchmarks.scan.throughput.peak_rate", lambda kind: 1e12)
    chosen = plan((200, 180), vgg_m.BACKBONE, 2)
    reading = Reading("vgg_m", "fc6", chosen.input_shape, chosen.first_strides)
    operations = sum(cost.operations for cost in layer_costs(reading, thin.variables()))
    rows = list(throughputs(name, thin, chosen, repeats=1))
    assert [row.batch for row in rows] == [1, 2, 4]
    for row in rows:
        # no more than the sleep of 10 ms an image allows, and the share follows from it
        assert 0 < row.images_per_second <= 100
        assert row.share == pytest.approx(times * operations * row.images_per_second / 1e12)


def test_another_failure_than_full_memory_is_not_hidden(thin, monkeypatch):
    def compiled(*_, **__):
        raise jax.errors.JaxRuntimeError("INTERNAL: a driver")

    monkeypatch.setattr("mammojax.benchmarks.scan.throughput.compile_program", compiled)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        list(throughputs("scan", thin, plan((200, 180), vgg_m.BACKBONE, 2)))


@pytest.mark.parametrize(
    "kind, rate",
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", None),
        ("TPU v5 lite", 197e12),
        ("cpu", None),
    ],
)
def test_the_peak_is_that_of_the_very_device_or_unknown(kind, rate):
    assert peak_rate(kind) == rate
