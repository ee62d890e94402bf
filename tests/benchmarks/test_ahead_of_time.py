"""What is read from compiled programs, on programs whose needs are known; and the launcher's one-line errors."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from program import error_line, run

from mammojax.benchmarks.ahead_of_time import Compiled, compiled, products, sent
from mammojax.benchmarks.chips import CHIPS, chip_of
from mammojax.benchmarks.loss.programs import loss_table
from mammojax.benchmarks.scan.slopes import slope_programs, slope_table
from mammojax.errors import UserError
from mammojax.models.backbones.efficientnet_lite import LITE0
from mammojax.models.scanning import ScanningNetwork, plan
from mammojax.models.weights.random import random_layers


def test_a_product_says_its_operations_its_memory_and_its_type():
    def lower():
        shape = jax.ShapeDtypeStruct((64, 64), jnp.float32)
        return jax.jit(lambda a, b: a @ b).lower(shape, shape)

    found = compiled("product", lower)
    assert not found.failure and not found.wide and found.collectives == {}
    assert found.operations == pytest.approx(2 * 64**3, rel=0.01)
    assert found.memory >= 3 * 64 * 64 * 4  # two arguments and the result


def test_what_does_not_compile_says_why_in_one_line():
    def lower():
        return jax.jit(lambda a: a @ a).lower(jax.ShapeDtypeStruct((3, 4), jnp.float32))

    found = compiled("wrong", lower)
    assert "dot_general" in found.failure and "\n" not in found.failure


def test_bytes_that_travel_are_those_of_the_shapes():
    text = """
  %all-reduce.1 = (f32[8,4]{1,0}, f32[]) all-reduce(%a, %b), channel_id=1
  %ag = bf16[16]{0} all-gather-start(%c), dimensions={0}
  %agd = bf16[16]{0} all-gather-done(%ag)
  %add = f32[8]{0} add(%d, %e)
"""
    assert sent(text) == {"all-reduce": 8 * 4 * 4 + 4, "all-gather": 32}


def test_a_row_of_the_loss_library_says_what_it_asks_for():
    head, _, (row, failed) = loss_table(jax.devices()[:1], 64, "tpu", "update of buffers: all")
    assert head[0].startswith("| program | CPU s |") and not failed
    # ids are sorted; slots are read for the drift and written; an update on one device sends nothing
    name, seconds, _, scatters, gathers, sorts, wide, sent = row.strip("| ").split(" | ")
    assert name == "update of buffers: all" and float(seconds) > 0
    assert int(scatters) >= 5 and int(gathers) >= 2 and int(sorts) >= 1
    assert (wide, sent) == ("none", "nothing")


def test_the_slopes_of_each_layer_are_a_program():
    network = ScanningNetwork("efficientnet_lite0", "stride8", random_layers(LITE0.grey_shapes(), 0), "", "")
    chosen = plan((32, 32), network.backbone, 2, tap="stride8")
    made = slope_programs(network, chosen, jax.devices()[0], batch=1, precision="bfloat16")
    programs = dict(made)
    rows, columns = chosen.input_shape
    assert list(programs)[:2] == [
        f"stem, {rows} x {columns} x 1",
        f"block0, {rows // 2} x {columns // 2} x 32",
    ]
    assert len(programs) == 1 + 5 + 1  # up to the tap, and the window maxima
    shapes = jax.tree.leaves(programs[next(iter(programs))]().out_info)
    assert {leaf.shape for leaf in shapes} == {(3, 3, 1, 32), (32,)}  # of the kernels, not of the pixels
    lines = [line for line, failed in slope_table(iter(programs.items()), "cpu", matching="maxima")]
    assert len(lines) == 3 and lines[2].startswith("| window maxima, ")


def test_products_are_counted_by_their_type():
    text = (
        "%a = f32[8,4]{1,0:T(8,128)} convolution(%x, %y)\n%b = bf16[4]{0} dot(%x, %y)\n%c = f32[] add(%x, %y)"
    )
    assert products(text) == {"f32": 1, "bf16": 1}


def test_products_of_a_gpu_are_calls_of_its_libraries():
    text = (
        '%a = (f32[8,4]{1,0}, s8[64]{0}) custom-call(%x, %y), custom_call_target="__cublas$gemm"\n'
        '%b = bf16[8,4]{1,0} custom-call(%x, %y), custom_call_target="__cudnn$convForward"\n'
        '%c = f32[8]{0} custom-call(%x), custom_call_target="Sharding"'
    )
    assert products(text) == {"f32": 1, "bf16": 1}


def test_the_slower_of_operations_and_memory_bounds_a_run():
    chip = CHIPS["v5e"]
    assert Compiled("", operations=197e12, bytes=1.0).bound(chip) == (1.0, "operations")
    assert Compiled("", operations=1.0, bytes=2 * 819e9).bound(chip) == (2.0, "memory")


@pytest.mark.parametrize("topology", ["v5e", "v9:2x2", "v5e:2by2", "h100:2x2", "h100", ""])
def test_a_topology_that_is_none_names_the_known_ones(topology):
    with pytest.raises(UserError, match="expected a generation and its shape, such as v5e:4x4"):
        chip_of(topology)


def test_wrong_flags_are_one_line():
    assert "--crop is '4084'" in error_line(run("launch.compile", "--crop=4084"))
    assert "--part: unknown 'all'" in error_line(run("launch.compile", "--part=all"))
    # before a compiler of some hundred megabytes is asked for
    assert "known generations are" in error_line(run("launch.compile", "--topology=a100:8"))


def test_what_takes_longer_to_compile_than_it_may_is_one_line():
    """A program of its own: nothing but its end stops a compiler."""
    code = (
        "import time\nfrom mammojax.benchmarks.compilers import limited\n"
        "with limited(1, 'quick'): pass\nwith limited(0.001, 'a step'): time.sleep(60)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: a step: not compiled after 0.001 minutes; give it more (--minutes)")


@pytest.mark.slow
def test_a_step_compiles_for_a_slice_that_nobody_has_here():
    pytest.importorskip("libtpu", reason="no compiler for TPUs")
    done = run("launch.compile", "--part=stage_one", "--topology=v5e:2x2")
    assert done.returncode == 0 and "float64: none" in done.stdout and "fits" in done.stdout
