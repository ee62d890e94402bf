"""The parts of the benchmark of the scanning networks: each measures, checks, and says what it found."""

import statistics
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mammojax.benchmarks.scan import peers as scan_peers
from mammojax.benchmarks.scan.cost import Reading, layer_costs
from mammojax.benchmarks.scan.layers import matrix_products, prepared_layers
from mammojax.benchmarks.scan.memory import measured_alone
from mammojax.benchmarks.scan.programs import PROGRAMS, network_to_measure
from mammojax.benchmarks.scan.tables import share_text
from mammojax.benchmarks.scan.throughput import throughputs
from mammojax.benchmarks.tables import bytes_text
from mammojax.benchmarks.timing import Unavailable, in_turns, timed
from mammojax.models.plans import plan
from mammojax.models.scanning import scan
from mammojax.models.windows import scan_windows

AGREEMENT = 1e-4  # of a map's largest number, between programs in float32; those of an accelerator round more
AGREEMENT_ACCELERATOR = 2e-2
MATRIX_SHARE, PYTORCH_RATIO, WINDOWS_RATIO = 0.75, 1.7, 8.0
MEMORY_BARS = {"scan": 3e9, "training step": 12e9}  # bytes
COLUMNS = ["part", "what", "program", "output", "device", "milliseconds", "median_milliseconds", "repeats"]
COLUMNS += ["gflop", "gflop_per_s", "share", "error", "stated_bytes", "peak_bytes", "batch", "images_per_s"]


class Measurements:
    """Rows of measurements, what must hold as (what, bar, measured), and (where, program, reason) of what was left out."""

    def __init__(self, repeats: int, device: str, say: Callable[[str], None]):
        self.repeats, self.device, self.say = repeats, device, say
        self.rows, self.bars, self.skipped = [], [], []

    def skip(self, where: str, program: str, reason: object) -> None:
        self.skipped.append((where, program, " ".join(str(reason).split())[:200]))

    def add(self, part: str, what: str, program: str, seconds: list[float], **facts) -> dict:
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
    return np.random.default_rng(0).random((1, *shape, 1), np.float32)


def difference(found, expected) -> float:
    """The largest, in shares of the largest number expected."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def compare(measured: Measurements, reading, network, peers: list[str], *, by_layer: bool) -> dict[str, dict]:
    """program -> row, of one image: each program is checked, then all and the matrix products are timed in turns."""
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
    measured.say(f"{what}: " + ", ".join(f"{name} {row['milliseconds']:g} ms" for name, row in rows.items()))
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
    for tap in ("head", "stride16"):  # the whole network, and as it is read by default
        network = network_to_measure("efficientnet_lite0", tap)
        reading = Reading("efficientnet_lite0", tap, shape)
        rows = compare(measured, reading, network, peers, by_layer=tap == "head")
        rival, ratio = ratio_to_pytorch(rows)
        measured.bars.append((f"{reading.describe()}: against {rival}", ">= 1 x", ratio))


def windows(measured: Measurements, crop: tuple[int, int], cells: int) -> None:
    """VGG-M without padding, where one graph and every window alone are the same function."""
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
    measured.say(f"windows: {times:.1f} x")


def memory(measured: Measurements, whole: tuple[int, int], cells: dict[str, int]) -> None:
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
            measured.say(f"{program}, {where}: {text}, {found.seconds:.3g} s")


def accelerator(measured: Measurements, whole: tuple[int, int], cells: dict[str, int]) -> None:
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
            measured.say(f"{what}: {shown}")
