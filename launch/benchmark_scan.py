"""Measures the scanning networks: time against PyTorch and plain JAX, by layer, against windows, and their memory.

Programs are checked against each other before they are timed. Writes into --out: measurements.csv (a row a measurement)
and benchmark.md (what must hold, and the tables). Parts: vgg_m and efficientnet_lite0 (one image, by program and by
layer), windows (one graph against window by window), memory (a scan and a training step of a whole image; minutes),
accelerator (images a second; not on a CPU). What is not installed or not possible is skipped, and said so at the end.

Examples:
  python -m launch.benchmark_scan --out=benchmark
  python -m launch.benchmark_scan --out=benchmark --part=vgg_m --peers=torch
"""

import csv
import os
import shlex
import sys
from pathlib import Path

from absl import flags

from launch import command_line
from launch.command_line import say

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # peers need memory of the same GPU

if __name__ == "__main__":
    OUT = flags.DEFINE_string("out", "benchmark", "folder of the results")
    PART = flags.DEFINE_list(
        "part", "vgg_m,efficientnet_lite0,windows,memory,accelerator", "what is measured"
    )
    PEERS = flags.DEFINE_list("peers", "torch,jax", "other programs (jax: its plain forms); empty: none")
    REPEATS = flags.DEFINE_integer("repeats", 5, "so many calls of each program, in turns", lower_bound=1)
    IMAGE = flags.DEFINE_string("image", "1335x1335", "pixels of the image of part vgg_m, rows x columns")
    STRIDES = flags.DEFINE_list("strides", "4,2", "of the first layer in part vgg_m, 1 to 7")
    CROP = flags.DEFINE_string("crop", "960x512", "pixels of the image of part efficientnet_lite0")
    WINDOWS_CROP = flags.DEFINE_string("windows_crop", "1551x1551", "pixels of the crop of part windows")
    CELLS = flags.DEFINE_integer("cells", 15, "np of part windows", lower_bound=1)
    WHOLE = flags.DEFINE_string("whole", "4084x3328", "pixels of the image of parts memory and accelerator")
    WHOLE_CELLS = flags.DEFINE_list(
        "whole_cells", "vgg_m:64,efficientnet_lite0:15", "np with which each network reads the whole image"
    )

PARTS = ("vgg_m", "efficientnet_lite0", "windows", "memory", "accelerator")
AGREEMENT = 1e-4  # of a map's largest number, between programs in float32; those of an accelerator round more
AGREEMENT_ACCELERATOR = 2e-2
MATRIX_SHARE, PYTORCH_RATIO, WINDOWS_RATIO = 0.75, 1.7, 8.0
MEMORY_BARS = {"scan": 3e9, "training step": 12e9}  # bytes
COLUMNS = ["part", "what", "program", "output", "device", "milliseconds", "median_milliseconds", "repeats"]
COLUMNS += ["gflop", "gflop_per_s", "share", "error", "stated_bytes", "peak_bytes", "batch", "images_per_s"]


class Measurements:
    """Rows of measurements, what must hold as (what, bar, measured), and (where, program, reason) of what was left out."""

    def __init__(self, repeats: int, device: str):
        self.repeats, self.device = repeats, device
        self.rows, self.bars, self.skipped = [], [], []

    def skip(self, where: str, program: str, reason: object) -> None:
        self.skipped.append((where, program, " ".join(str(reason).split())[:200]))

    def add(self, part: str, what: str, program: str, seconds: list[float], **facts) -> dict:
        import statistics

        row = {"part": part, "what": what, "program": program, "device": self.device, **facts}
        row["milliseconds"] = float(f"{min(seconds) * 1e3:.4g}")
        row["median_milliseconds"] = float(f"{statistics.median(seconds) * 1e3:.4g}")
        row["repeats"] = len(seconds)
        self.rows.append(row)
        return row

    def add_rated(self, part, what, program, seconds, operations, limit, **facts) -> dict:
        """A row with its rate and the share of `limit`, operations a second of the best matrix product."""
        rate = operations / min(seconds)
        facts |= {"gflop": operations / 1e9, "gflop_per_s": rate / 1e9, "share": rate / limit}
        return self.add(part, what, program, seconds, **facts)


def pixels_of(shape: tuple[int, int]):
    """float32[1, h, w, 1] in [0, 1]: noise, so that every program reads the same and none is spared."""
    import numpy as np

    return np.random.default_rng(0).random((1, *shape, 1), np.float32)


def difference(found, expected) -> float:
    """The largest, in shares of the largest number expected."""
    import numpy as np

    return float(np.abs(found - expected).max() / np.abs(expected).max())


def compare(measured: Measurements, reading, network, peers: list[str], *, by_layer: bool) -> dict[str, dict]:
    """program -> row, of one image: each program is checked, then all and the matrix products are timed in turns."""
    import jax

    from mammojax.benchmarks.scan import peers as scan_peers
    from mammojax.benchmarks.scan.cost import layer_costs
    from mammojax.benchmarks.scan.layers import matrix_products, prepared_layers
    from mammojax.benchmarks.timing import Unavailable, in_turns

    what, pixels, variables = reading.describe(), pixels_of(reading.shape), network.variables()
    tolerance = AGREEMENT if jax.default_backend() == "cpu" else AGREEMENT_ACCELERATOR
    calls, errors, expected = {}, {}, None
    for name in ("mammojax", *(program for peer in peers for program in scan_peers.PEERS[peer])):
        try:
            program = scan_peers.prepare(name, reading, variables, pixels)
            found = program.unpacked(program.call())
        except Unavailable as error:
            measured.skip(what, name, error)
            continue
        expected = found if expected is None else expected
        errors[name] = difference(found, expected)
        if found.shape != expected.shape or not errors[name] < tolerance:  # NaN is not
            measured.skip(what, name, f"wrong: it is off by {errors[name]:.1g}")
            continue
        calls[name] = program.call
    products = matrix_products()
    names = {f"matrix product, {side}": (call, count) for side, (call, count) in products.items()}
    seconds = in_turns(calls | {name: call for name, (call, _) in names.items()}, measured.repeats)
    limit = max(count / min(seconds[name]) for name, (_, count) in names.items())
    operations = sum(cost.operations for cost in layer_costs(reading, variables))
    rows = {
        name: measured.add_rated(
            "program", what, name, seconds[name], operations, limit, error=f"{errors[name]:.1g}"
        )
        for name in calls
    }
    for name, (_, count) in names.items():
        measured.add_rated("program", what, name, seconds[name], count, limit, error="")
    say(f"{what}: " + ", ".join(f"{name} {row['milliseconds']:g} ms" for name, row in rows.items()))
    if by_layer:
        costs, calls = zip(*prepared_layers(reading, variables, pixels))
        seconds = in_turns({cost.name: call for cost, call in zip(costs, calls)}, measured.repeats)
        for cost in costs:
            shown = " x ".join(map(str, cost.output_shape[1:]))
            measured.add_rated(
                "layer", what, cost.name, seconds[cost.name], cost.operations, limit, output=shown
            )
    return rows


def ratio_to_pytorch(rows: dict[str, dict]) -> tuple[str, str]:
    """(the better layout, how many times as long it takes); "not measured" without PyTorch."""
    found = sorted((row["milliseconds"], name) for name, row in rows.items() if name.startswith("torch"))
    if not found:
        return "PyTorch", "not measured"
    return found[0][1], f"{found[0][0] / rows['mammojax']['milliseconds']:.2f} x"


def vgg_m(measured: Measurements, shape: tuple[int, int], strides: list[int], peers: list[str]) -> None:
    from mammojax.benchmarks.scan.cost import Reading
    from mammojax.benchmarks.scan.programs import network_to_measure

    network = network_to_measure("vgg_m")
    for stride in strides:
        reading = Reading("vgg_m", network.tap, shape, (stride, stride))
        rows = compare(measured, reading, network, peers, by_layer=True)
        rival, ratio = ratio_to_pytorch(rows)
        what = reading.describe()
        measured.bars += [
            (f"{what}: against {rival}", f">= {PYTORCH_RATIO} x", ratio),
            (
                f"{what}: of the rate of a large matrix product",
                f">= {MATRIX_SHARE:.0%}",
                f"{rows['mammojax']['share']:.0%}",
            ),
        ]


def efficientnet_lite0(measured: Measurements, shape: tuple[int, int], peers: list[str]) -> None:
    from mammojax.benchmarks.scan.cost import Reading
    from mammojax.benchmarks.scan.programs import network_to_measure

    for tap in ("head", "stride16"):  # the whole network, and as it is read by default
        network = network_to_measure("efficientnet_lite0", tap)
        reading = Reading("efficientnet_lite0", tap, shape)
        rows = compare(measured, reading, network, peers, by_layer=tap == "head")
        rival, ratio = ratio_to_pytorch(rows)
        measured.bars.append((f"{reading.describe()}: against {rival}", ">= 1 x", ratio))


def windows(measured: Measurements, crop: tuple[int, int], cells: int) -> None:
    """VGG-M without padding, where one graph and every window alone are the same function."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from mammojax.benchmarks.scan.programs import network_to_measure
    from mammojax.benchmarks.timing import timed
    from mammojax.models.plans import plan
    from mammojax.models.scanning import scan
    from mammojax.models.windows import scan_windows

    network = network_to_measure("vgg_m")
    chosen = plan(crop, network.backbone, cells, padding="valid")
    graph, state = nnx.split(network)
    pixels, results, seconds = jnp.asarray(pixels_of(chosen.input_shape)), {}, {}
    for name, function in (("scan", scan), ("scan_windows", scan_windows)):
        program = jax.jit(lambda state, x, read=function: read(nnx.merge(graph, state), x, chosen))
        compiled = program.lower(state, pixels).compile()

        def call(compiled=compiled):
            return jax.block_until_ready(compiled(state, pixels))

        results[name] = call()
        seconds[name] = [timed(call) for _ in range(measured.repeats if name == "scan" else 1)]
    off = difference(results["scan_windows"], results["scan"])
    what = chosen.describe()
    if not off < AGREEMENT:
        measured.skip(what, "scan_windows", f"wrong: it is off by {off:.1g} from scan")
        return
    for name in results:
        measured.add("windows", what, name, seconds[name], error=f"{off:.1g}")
    times = min(seconds["scan_windows"]) / min(seconds["scan"])
    measured.bars.append((f"scan against scan_windows, {what}", f">= {WINDOWS_RATIO:g} x", f"{times:.1f} x"))
    say(f"windows: {times:.1f} x")


def memory(measured: Measurements, whole: tuple[int, int], cells: dict[str, int]) -> None:
    from mammojax.benchmarks.scan.memory import measured_alone
    from mammojax.benchmarks.tables import bytes_text
    from mammojax.benchmarks.timing import Unavailable

    for program, bar in MEMORY_BARS.items():
        for backbone, n in cells.items():
            where = f"{backbone}, {whole[0]} x {whole[1]}, np = {n}"
            try:
                found = measured_alone(program, backbone, whole, n)
            except Unavailable as error:
                measured.skip(where, program, error)
                measured.bars.append((f"{program}, {where}: memory", f"< {bytes_text(bar)}", "not measured"))
                continue
            facts = {"stated_bytes": found.stated, "peak_bytes": found.peak}
            measured.add("memory", found.plan, program, [found.seconds], **facts)
            text = f"{bytes_text(found.stated)} stated, {bytes_text(found.peak)} the process"
            measured.bars.append((f"{program}, {where}: memory", f"< {bytes_text(bar)}", text))
            say(f"{program}, {where}: {text}, {found.seconds:.3g} s")


def accelerator(measured: Measurements, whole: tuple[int, int], cells: dict[str, int]) -> None:
    import jax

    from mammojax.benchmarks.scan.programs import PROGRAMS, network_to_measure
    from mammojax.benchmarks.scan.tables import share_text
    from mammojax.benchmarks.scan.throughput import throughputs
    from mammojax.models.plans import plan

    if jax.default_backend() == "cpu":
        measured.skip("accelerator", "mammojax", "JAX sees none here")
        measured.bars.append(("images a second and share of peak, bfloat16, accelerator", "", "not measured"))
        return
    for backbone, n in cells.items():
        network = network_to_measure(backbone)
        chosen = plan(whole, network.backbone, n)
        for program in PROGRAMS:
            found = list(throughputs(program, network, chosen))
            what = f"{program}, {chosen.describe()}"
            for row in found:
                facts = {"batch": row.batch, "images_per_s": row.images_per_second, "share": row.share}
                seconds = [row.batch / row.images_per_second]
                measured.add("accelerator", chosen.describe(), program, seconds, **facts)
            best = max(found, key=lambda row: row.images_per_second, default=None)
            if best is None:
                measured.skip(chosen.describe(), program, "not one image fits the device's memory")
                continue
            shown = f"{best.images_per_second:.3g} a second, {share_text(best.share)} of peak, {best.batch} together"
            measured.bars.append((f"images, bfloat16: {what}", "", shown))
            say(f"{what}: {shown}")


def shape_of(text: str, flag: str) -> tuple[int, int]:
    """(rows, columns) of a flag such as 960x512; UserError for anything else."""
    from mammojax.errors import UserError

    rows, _, columns = text.partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and min(int(rows), int(columns)) >= 1):
        raise UserError(f"--{flag}={text}: expected rows x columns in pixels, such as 960x512")
    return int(rows), int(columns)


def whole_cells(values: list[str]) -> dict[str, int]:
    """backbone -> np of --whole_cells; UserError for an unknown backbone or no number."""
    from mammojax.errors import UserError

    found = {}
    for value in values:
        name, _, cells = value.partition(":")
        if name not in ("vgg_m", "efficientnet_lite0") or not cells.isdecimal() or int(cells) < 1:
            raise UserError(
                f"--whole_cells={value}: expected vgg_m:NP or efficientnet_lite0:NP, such as vgg_m:64"
            )
        found[name] = int(cells)
    return found


def check_vgg_m(shape: tuple[int, int], strides: list[str]) -> list[int]:
    """The strides as numbers; UserError for others than 1 to 7 and for an image too small for one cell."""
    from mammojax.errors import UserError
    from mammojax.models.backbones.contract import output_side
    from mammojax.models.backbones.vgg_m import BACKBONE

    kernel = BACKBONE.taps[0].layers[0].kernel
    if not strides or not all(s.isdecimal() and 1 <= int(s) <= kernel for s in strides):
        raise UserError(f"--strides={','.join(strides)}: expected numbers from 1 to {kernel}")
    for stride in map(int, strides):
        if min(output_side(BACKBONE.taps[0].layers, side, stride) for side in shape) < 1:
            raise UserError(
                f"--image={shape[0]}x{shape[1]}: too small for one cell at stride {stride}; take at least "
                f"{7 + 108 * stride} pixels"
            )
    return [int(s) for s in strides]


def main(arguments: list[str]) -> None:
    command_line.no_arguments(arguments)

    from mammojax.errors import UserError
    from mammojax.runs.files import writing

    image, crop = shape_of(IMAGE.value, "image"), shape_of(CROP.value, "crop")
    windows_crop, whole = shape_of(WINDOWS_CROP.value, "windows_crop"), shape_of(WHOLE.value, "whole")
    cells = whole_cells(WHOLE_CELLS.value)
    for flag, given, known in (("part", PART.value, PARTS), ("peers", PEERS.value, ("torch", "jax"))):
        for name in given:
            if name not in known:
                raise UserError(f"--{flag}: unknown {name!r}; choose from {', '.join(known)}")
    strides = check_vgg_m(image, STRIDES.value)

    from mammojax.benchmarks.scan.tables import document
    from mammojax.benchmarks.timing import device_name

    out = Path(OUT.value)
    with writing(out / "measurements.csv", "w"):  # a folder that cannot be written is found out now
        pass
    measured = Measurements(REPEATS.value, device_name())
    say(f"device: {measured.device}")
    parts = {
        "vgg_m": lambda: vgg_m(measured, image, strides, PEERS.value),
        "efficientnet_lite0": lambda: efficientnet_lite0(measured, crop, PEERS.value),
        "windows": lambda: windows(measured, windows_crop, CELLS.value),
        "memory": lambda: memory(measured, whole, cells),
        "accelerator": lambda: accelerator(measured, whole, cells),
    }
    for part in PARTS:
        if part in PART.value:
            parts[part]()
    with writing(out / "measurements.csv", "w") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(measured.rows)
    text = document(
        measured.rows,
        measured.bars,
        measured.skipped,
        command=shlex.join(["python", "-m", "launch.benchmark_scan", *sys.argv[1:]]),
        device=measured.device,
        repeats=measured.repeats,
    )
    with writing(out / "benchmark.md", "w") as file:
        file.write(text)
    say("\n" + text[text.index("## What must hold") :])
    for where, program, reason in measured.skipped:
        say(f"skipped: {program}, {where}: {reason}")
    say(f"results: {out}")


if __name__ == "__main__":
    command_line.run(main)
