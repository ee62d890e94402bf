"""Measures the pairwise AUC loss: time, memory and error of every implementation and of the programs it competes with.

Value and gradient of one loss over all pairs, checked against float64 before they are timed. Writes into --out:
measurements.csv (a row a measurement), benchmark.md (the tables), sweep.png (time and memory against the number of
scores) and epoch.png (what an epoch costs with every pair, with a sub-sample, and in linear time, and how far the
gradient is off). What takes too long, needs too much memory or is not installed is skipped, and said so at the end.

Examples:
  python -m launch.benchmark_loss --out=benchmark
  python -m launch.benchmark_loss --out=benchmark --part=bars --peers=jax,torch
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
        "part", "sweep,epoch,bars", "sweep: all sizes; epoch: eq. (3); bars: what must hold"
    )
    SIZES = flags.DEFINE_list(
        "sizes", "1e2,1e3,1e4,1e5,1e6,1e7", "numbers of scores; no part goes beyond the last"
    )
    RATES = flags.DEFINE_list(
        "positive_rate", "0.1,0.01", "shares of positives; the first is that of the figures"
    )
    IMPLEMENTATIONS = flags.DEFINE_list("implementations", "materialized,tiled,fast", "of the library")
    PEERS = flags.DEFINE_list("peers", "jax,torch,rax,libauc,keops", "other programs; empty: none")
    SURROGATE = flags.DEFINE_string(
        "surrogate", "logistic", "logistic, squared_hinge, hinge, square or sigmoid"
    )
    CAPACITIES = flags.DEFINE_list("capacities", "64,256,1024", "of the sub-sampled buffers, scores a class")
    REPEATS = flags.DEFINE_integer("repeats", 10, "the best of so many, taken in turns", lower_bound=1)
    BUDGET = flags.DEFINE_float(
        "budget_seconds", 3.0, "for all repeats of a program at a size", lower_bound=0.01
    )

PARTS = ("sweep", "epoch", "bars")
SHORTEST_EPOCH = 256  # samples: eight batches
DRAWS = 8  # reservoirs over which the error of the gradient is taken
WRONG = 1e-2  # a relative error from which a program is said to compute something else
COLUMNS = ["part", "program", "surrogate", "distribution", "scores", "positives", "negatives", "device"]
COLUMNS += ["milliseconds", "ns_per_score", "gb_per_s", "repeats", "loss_error", "gradient_error"]
COLUMNS += ["gradient_vector_error", "reference", "temporary_bytes", "memory_source"]


def drawn(size: int, positives: int, distribution: str = "normal"):
    """(scores float32[n], labels int32[n]): the positives one unit above the negatives, the classes mixed."""
    import numpy as np

    generator = np.random.default_rng([size, positives])
    labels = np.zeros(size, np.int32)
    labels[generator.choice(size, positives, replace=False)] = 1
    noise = generator.normal(size=size) if distribution == "normal" else generator.standard_cauchy(size)
    return (noise + labels).astype(np.float32), labels


class Measurements:
    """Rows of measurements, what they tell of the next size, and (where, program, reason) of what was left out."""

    def __init__(self, surrogate: str, repeats: int, budget: float):
        self.surrogate, self.repeats, self.budget = surrogate, repeats, budget
        self.rows, self.skipped, self.last = [], [], {}

    def skip(self, where: str, program: str, reason: object) -> None:
        self.skipped.append((where, program, " ".join(str(reason).split())[:200]))

    def found(
        self, program: str, size: int, positives: int, distribution: str = "normal", part: str = "bars"
    ):
        """The row of a program at a size, measured now or before; None if it was skipped."""
        wanted = (program, size, positives, distribution)
        for row in self.rows:
            if (row["program"], row["scores"], row["positives"], row["distribution"]) == wanted:
                return row
        return self.measure(part, [program], size, positives, distribution).get(program)

    def measure(
        self, part: str, programs: list[str], size: int, positives: int, distribution: str = "normal"
    ) -> dict[str, dict]:
        """program -> row, of those that can be run at this size; each is checked, then all are timed in turns."""
        from mammojax.evaluation import loss_peers
        from mammojax.evaluation.loss_reference import reference, relative_errors
        from mammojax.evaluation.tables import bytes_text, seconds_text
        from mammojax.evaluation.timing import (
            Unavailable,
            available_bytes,
            best_of,
            device_name,
            memory_growth,
        )

        where = f"{size:,} scores, {positives:,} positive, {distribution}"
        scores, labels = drawn(size, positives, distribution)
        truth, calls, rows = None, {}, {}
        for name in (name for name in programs if name != "exp_sum"):
            try:
                self._check_cost(name, size, positives)
                program = loss_peers.prepare(name, scores, labels, self.surrogate)
                if (program.temporary or 0) > available_bytes():
                    raise Unavailable(f"too much memory: {bytes_text(program.temporary)} temporary")
                result, grown = memory_growth(program.call)
            except Unavailable as error:
                self.skip(where, name, error)
                continue
            except Exception as error:  # another program's failure must not end the sweep
                if name in loss_peers.IMPLEMENTATIONS and not isinstance(error, ValueError):
                    raise
                self.skip(where, name, f"{type(error).__name__}: {error}")
                continue
            truth = truth or reference(scores, labels, self.surrogate)
            loss_error, whole, worst = relative_errors(*program.unpacked(result), truth)
            if not (loss_error < WRONG and whole < WRONG):  # NaN is neither
                self.skip(
                    where, name, f"wrong: the loss is off by {loss_error:.1g}, its gradient by {whole:.1g}"
                )
                continue
            calls[name] = program.call
            stated = program.temporary is not None
            rows[name] = {
                "device": program.device,
                "loss_error": f"{loss_error:.2g}",
                "gradient_error": f"{worst:.2g}",
                "gradient_vector_error": f"{whole:.2g}",
                "reference": truth.method,
                "temporary_bytes": program.temporary if stated else grown,
                "memory_source": "compiled program"
                if stated
                else "process peak"
                if grown is not None
                else "n/a",
            }
        calls["exp_sum"] = loss_peers.exp_and_sum(scores)
        rows["exp_sum"] = {"device": device_name()}
        for name, (seconds, repeats) in best_of(calls, self.repeats, self.budget).items():
            self.last[name] = (size, positives, seconds, rows[name].get("temporary_bytes"))
            rows[name] |= {
                "part": part,
                "program": name,
                "surrogate": self.surrogate,
                "distribution": distribution,
                "scores": size,
                "positives": positives,
                "negatives": size - positives,
                "milliseconds": float(f"{seconds * 1e3:.4g}"),
                "ns_per_score": float(f"{seconds / size * 1e9:.4g}"),
                # the least that must move: scores and labels read, the gradient written
                "gb_per_s": float(f"{(4 if name == 'exp_sum' else 12) * size / seconds / 1e9:.3g}"),
                "repeats": repeats,
            }
        self.rows += rows.values()
        say(f"{where}: " + ", ".join(f"{n} {seconds_text(r['milliseconds'] / 1e3)}" for n, r in rows.items()))
        return rows

    def _check_cost(self, name: str, size: int, positives: int) -> None:
        """Raises Unavailable if the program's last size tells that this one takes too much."""
        from mammojax.evaluation.tables import bytes_text, seconds_text
        from mammojax.evaluation.timing import Unavailable, available_bytes

        if name not in self.last:
            return
        size_before, positives_before, seconds, temporary = self.last[name]
        pairs = positives * (size - positives) / (positives_before * (size_before - positives_before))
        growing = size / size_before if name == "fast" else pairs
        if seconds * growing > self.budget:
            raise Unavailable(
                f"too slow: {seconds_text(seconds * growing)} expected, --budget_seconds={self.budget:g}"
            )
        if name in ("torch", "libauc") and (temporary or 0) * growing > available_bytes():
            raise Unavailable(f"too much memory: {bytes_text(temporary * growing)} expected")


def seconds_a_step(epoch, budget: float) -> tuple[int, float]:
    """(steps that were run, seconds of one)"""
    from mammojax.evaluation.timing import timed

    epoch.run(1)  # compiles
    steps = min(epoch.steps, max(1, int(budget / timed(lambda: epoch.run(1)))))
    return steps, min(timed(lambda: epoch.run(steps)) for _ in range(3)) / steps


def epochs(measured: Measurements, sizes: list[int], rate: float, capacities: list[int]) -> list[dict]:
    """Rows of way, samples, seconds, error: eq. (3) with all scores, with reservoirs, and all pairs at once.

    An epoch of eq. (3) is the measured time of a step times the number of steps.
    """
    from mammojax.evaluation.loss_epoch import EpochSteps
    from mammojax.evaluation.loss_reference import reference
    from mammojax.evaluation.tables import seconds_text

    rows, slow = [], set()
    for size in sizes:
        positives = max(1, round(rate * size))
        scores, labels = drawn(size, positives)
        truth = reference(scores, labels, measured.surrogate).gradient
        for way in ("all", *map(str, capacities)):
            if way in slow:
                measured.skip(f"an epoch of {size:,}", way, "too slow, by the size before")
                continue
            capacity = None if way == "all" else int(way)
            draws = [
                EpochSteps(scores, labels, capacity, measured.surrogate, seed)
                for seed in range(1 if capacity is None else DRAWS)
            ]
            steps, step = seconds_a_step(draws[0], measured.budget / 4)
            if capacity is None and 20 * step > measured.budget:
                slow.add(way)
            off, whole = (sum(x) for x in zip(*(draw.squares(truth, steps) for draw in draws)))
            rows.append(
                {
                    "way": way,
                    "samples": size,
                    "seconds": step * draws[0].batches,
                    "error": (off / whole) ** 0.5,
                }
            )
        for way in ("tiled", "fast"):
            row = measured.found(way, size, positives, part="epoch")
            if row:
                seconds, error = row["milliseconds"] / 1e3, float(row["gradient_vector_error"])
                rows.append({"way": way, "samples": size, "seconds": seconds, "error": error})
        here = [row for row in rows if row["samples"] == size]
        say(
            f"an epoch of {size:,}: "
            + ", ".join(f"{row['way']} {seconds_text(row['seconds'])}" for row in here)
        )
    return rows


def bars(measured: Measurements, limit: int, peers: list[str]) -> list[tuple[str, str, str]]:
    """(what, bar, measured): what the logistic loss must hold on two CPU cores, ratios within this run."""
    from mammojax.evaluation.loss_figures import NAMES, fitted_slope
    from mammojax.evaluation.tables import bytes_text

    def row(program, size, positives, distribution="normal"):
        return measured.found(program, size, positives, distribution) if size <= limit else None

    def text(form, *rows):
        return form(*rows) if all(rows) else "not measured"

    def ratio(slow, quick):
        return f"{slow['milliseconds'] / quick['milliseconds']:.4g} x"

    together = measured.measure("bars", ["tiled", "fast", *peers], 11_000, 1_000) if limit >= 11_000 else {}
    rivals = sorted((together[name] for name in peers if name in together), key=lambda r: r["milliseconds"])
    rivals = rivals[:1] + [r for r in rivals[1:] if r["program"] == "torch"]
    table = []
    for name, bar in (("tiled", 12), ("fast", 150)):
        for i, rival in enumerate(rivals or [None]):
            against = (
                f"{NAMES[rival['program']]}{', the fastest peer' if i == 0 else ''}" if rival else "no peer"
            )
            shown = text(ratio, rival, together.get(name))
            table.append((f"P = 1,000, N = 10,000: {name} against {against}", f">= {bar} x", shown))
    decades = [row("fast", 10**k, 10 ** (k - 1)) for k in (5, 6, 7)]
    most, most_cauchy = (row("fast", 11 * 10**6, 10**6, draw) for draw in ("normal", "cauchy"))
    slope = text(
        lambda *r: f"{fitted_slope([x['scores'] for x in r], [x['milliseconds'] for x in r]):.2f}", *decades
    )
    table += [
        ("fast: slope from 1e5 to 1e7 scores", "0.9 to 1.1", slope),
        *(
            (
                f"fast at {size} scores",
                "< 12 ns a score",
                text(lambda r: f"{r['ns_per_score']:.3g} ns", found),
            )
            for size, found in zip(("1e6", "1e7"), decades[1:])
        ),
        (
            "fast at 1e4 scores",
            "< 0.5 ms",
            text(lambda r: f"{r['milliseconds']:.3g} ms", row("fast", 10**4, 10**3)),
        ),
        (
            "fast, P = 1e6, N = 1e7: 1e13 pairs",
            "< 140 ms",
            text(lambda r: f"{r['milliseconds']:.3g} ms", most),
        ),
        ("the same, heavy tails (Cauchy)", "<= 2 x", text(ratio, most_cauchy, most)),
        ("1e6 scores, heavy tails", "<= 2 x", text(ratio, row("fast", 10**6, 10**5, "cauchy"), decades[1])),
        (
            "tiled, P = 1e4, N = 1e5: temporary memory",
            "< 16 MB",
            text(lambda r: bytes_text(r["temporary_bytes"]), row("tiled", 110_000, 10_000)),
        ),
        (
            "fast at 1e7 scores: temporary memory",
            "< 4 x the scores",
            text(lambda r: f"{r['temporary_bytes'] / 4 / r['scores']:.2f} x", decades[2]),
        ),
        (
            "for comparison: one pass of exp and sum over 1e6 scores",
            "",
            text(lambda r: f"{r['ns_per_score']:.2g} ns a score", row("exp_sum", 10**6, 10**5)),
        ),
    ]
    for name, loss_bar, gradient_bar in (("tiled", "2e-6", "2e-6"), ("fast", "1e-6", "5e-6")):
        rows = [r for r in measured.rows if r["program"] == name]
        worst = [
            max((float(r[c]) for r in rows), default=float("nan")) for c in ("loss_error", "gradient_error")
        ]
        bar = f"<= {loss_bar}, {gradient_bar}"
        table.append(
            (
                f"{name}: worst relative error of a loss, of a gradient element",
                bar,
                "{:.1e}, {:.1e}".format(*worst),
            )
        )
    return table


def draw(out: Path, measured: Measurements, rate: float, epoch_rows: list[dict], device: str) -> None:
    """sweep.png and epoch.png, each if its part was measured."""
    from mammojax.evaluation import loss_figures
    from mammojax.evaluation.figures import save_figure
    from mammojax.evaluation.loss_epoch import BATCH

    def curves(rows, name, x, y):
        found = {}
        for row in rows:
            if row.get(y):
                xs, ys = found.setdefault(row[name], ([], []))
                xs.append(row[x])
                ys.append(row[y])
        return found

    swept = [row | {"seconds": row["milliseconds"] / 1e3} for row in measured.rows if row.get("rate") == rate]
    what = f"Pairwise AUC loss ({measured.surrogate}), {100 * rate:g}% positives"
    if swept:
        times, memory = (curves(swept, "program", "scores", y) for y in ("seconds", "temporary_bytes"))
        save_figure(loss_figures.sweep_figure(times, memory, f"{what}; {device}"), out / "sweep.png")
    if epoch_rows:
        times, off = (curves(epoch_rows, "way", "samples", y) for y in ("seconds", "error"))
        title = f"{what}: value and gradient for every score once, batches of {BATCH}; {device}"
        save_figure(loss_figures.epoch_figure(times, off, title), out / "epoch.png")


def numbers(values: list[str], flag: str, low: float, high: float) -> list[float]:
    """The numbers of a list flag, in ascending order; UserError for what is none or out of range."""
    from mammojax.errors import UserError

    try:
        found = [float(value) for value in values]
    except ValueError:
        found = []
    if not found or not all(low <= value <= high for value in found):
        raise UserError(
            f"--{flag}={','.join(values)}: expected numbers from {low:g} to {high:g}, with commas between"
        )
    return found


def main(arguments: list[str]) -> None:
    command_line.no_arguments(arguments)
    sizes = sorted({int(size) for size in numbers(SIZES.value, "sizes", 2, 1e9)})
    rates = numbers(RATES.value, "positive_rate", 1e-6, 1 - 1e-6)
    capacities = [int(capacity) for capacity in numbers(CAPACITIES.value, "capacities", 1, 1e6)]

    from mammojax import run
    from mammojax.errors import UserError
    from mammojax.evaluation import loss_peers
    from mammojax.evaluation.loss_tables import document
    from mammojax.evaluation.timing import device_name
    from mammojax.losses.surrogates import NAMES

    for flag, given, known in (
        ("part", PART.value, PARTS),
        ("implementations", IMPLEMENTATIONS.value, loss_peers.IMPLEMENTATIONS),
        ("peers", PEERS.value, tuple(loss_peers.PEERS)),
        ("surrogate", [SURROGATE.value], NAMES),
    ):
        for name in given:
            if name not in known:
                raise UserError(f"--{flag}: unknown {name!r}; choose from {', '.join(known)}")
    out = Path(OUT.value)
    with run.writing(out / "measurements.csv", "w"):  # a folder that cannot be written is found out now
        pass
    measured = Measurements(SURROGATE.value, REPEATS.value, BUDGET.value)
    device = device_name()
    say(f"device: {device}")
    for rate in rates if "sweep" in PART.value else ():
        for size in sizes:
            positives = min(size - 1, max(1, round(rate * size)))
            for row in measured.measure(
                "sweep", [*IMPLEMENTATIONS.value, *PEERS.value], size, positives
            ).values():
                row["rate"] = rate
    epoch_rows, bar_rows = [], []
    if "epoch" in PART.value:
        epoch_rows = epochs(measured, [n for n in sizes if n >= SHORTEST_EPOCH], rates[0], capacities)
    if "bars" in PART.value and measured.surrogate == "logistic":
        bar_rows = bars(measured, sizes[-1], PEERS.value)
    with run.writing(out / "measurements.csv", "w") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(measured.rows)
    text = document(
        measured.rows,
        epoch_rows,
        bar_rows,
        measured.skipped,
        command=shlex.join(["python", "-m", "launch.benchmark_loss", *sys.argv[1:]]),
        device=device,
        surrogate=measured.surrogate,
        repeats=measured.repeats,
    )
    with run.writing(out / "benchmark.md", "w") as file:
        file.write(text)
    draw(out, measured, rates[0], epoch_rows, device)
    say("\n" + text[text.index("## What must hold") :] if bar_rows else "")
    for where, program, reason in measured.skipped:
        say(f"skipped: {program}, {where}: {reason}")
    say(f"results: {out}")


if __name__ == "__main__":
    command_line.run(main)
