"""Measures the pairwise AUC loss: time, memory and error of every implementation and of the programs it competes with.

Value and gradient of one loss over all pairs, checked against float64 before they are timed. Writes into --out:
measurements.csv (a row a measurement), benchmark.md (the tables), sweep.png (time and memory against the number of
scores) and epoch.png (what an epoch costs with every pair, with a sub-sample, and in linear time, and how far the
gradient is off), cells.png (how the linear-time sum sees the axis). What takes too long, needs too much memory or is not installed is skipped, and said so at the end.

Examples:
  python -m launch.benchmark_loss --out=benchmark
  python -m launch.benchmark_loss --out=benchmark --part=bars --peers=jax,torch
  python -m launch.benchmark_loss --out=benchmark --part=crossover --sizes=1e2 --peers= --repeats=1  # cells.png, in a minute
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
        "part",
        "sweep,epoch,bars",
        "sweep: all sizes; epoch: eq. (3); bars: what must hold; crossover: where `fast` wins",
    )
    SIZES = flags.DEFINE_list(
        "sizes", "1e2,1e3,1e4,1e5,1e6,1e7", "numbers of scores; no part goes beyond the last"
    )
    RATES = flags.DEFINE_list(
        "positive_rate", "0.1,0.01", "shares of positives; the first is that of the figures"
    )
    IMPLEMENTATIONS = flags.DEFINE_list("implementations", "materialized,tiled,fast", "of the library")
    PEERS = flags.DEFINE_list("peers", "jax,torch,rax,libauc,keops,aum", "other programs; empty: none")
    SURROGATE = flags.DEFINE_string(
        "surrogate", "logistic", "logistic, squared_hinge, hinge, square or sigmoid"
    )
    CAPACITIES = flags.DEFINE_list("capacities", "64,256,1024", "of the sub-sampled buffers, scores a class")
    REPEATS = flags.DEFINE_integer("repeats", 20, "the best of so many, taken in turns", lower_bound=1)
    BUDGET = flags.DEFINE_float(
        "budget_seconds", 3.0, "for all repeats of a program at a size", lower_bound=0.01
    )

PARTS = ("sweep", "epoch", "bars", "crossover")
SHORTEST_EPOCH = 256  # samples: eight batches
CROSSOVER_SIZES = (100, 300, 500, 1000, 2000, 3000, 5000, 10_000, 20_000)
DRAWS = 8  # reservoirs over which the error of the gradient is taken


def seconds_a_step(epoch, budget: float) -> tuple[int, float]:
    """(steps that were run, seconds of one)"""
    from mammojax.benchmarks.timing import timed

    epoch.run(1)  # compiles
    steps = min(epoch.steps, max(1, int(budget / timed(lambda: epoch.run(1)))))
    return steps, min(timed(lambda: epoch.run(steps)) for _ in range(3)) / steps


def epochs(measured, sizes: list[int], rate: float, capacities: list[int]) -> list[dict]:
    """Rows of way, samples, seconds, error: eq. (3) with all scores, with reservoirs, and all pairs at once.

    An epoch of eq. (3) is the measured time of a step times the number of steps.
    """
    from mammojax.benchmarks.loss.epoch import EpochSteps
    from mammojax.benchmarks.loss.measurements import drawn
    from mammojax.benchmarks.loss.reference import reference
    from mammojax.benchmarks.tables import seconds_text

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
            row = measured.found("epoch", way, size, positives)
            if row:
                seconds, error = row["milliseconds"] / 1e3, float(row["gradient_vector_error"])
                rows.append({"way": way, "samples": size, "seconds": seconds, "error": error})
        here = [row for row in rows if row["samples"] == size]
        say(
            f"an epoch of {size:,}: "
            + ", ".join(f"{row['way']} {seconds_text(row['seconds'])}" for row in here)
        )
    return rows


def bars(measured, limit: int, peers: list[str]) -> list[tuple[str, str, str]]:
    """(what, bar, measured): what the logistic loss must hold on two CPU cores, ratios within this run."""
    from mammojax.benchmarks.loss.figures import NAMES, fitted_slope
    from mammojax.benchmarks.loss.peers import SORTING
    from mammojax.benchmarks.tables import bytes_text

    def row(program, size, positives, distribution="normal"):
        return measured.found("bars", program, size, positives, distribution) if size <= 1.1 * limit else None

    def text(form, *rows):
        return form(*rows) if all(rows) else "not measured"

    def ratio(slow, quick):
        return f"{slow['milliseconds'] / quick['milliseconds']:.4g} x"

    together = measured.measure("bars", ["tiled", "fast", *peers], 11_000, 1_000) if limit >= 11_000 else {}
    others = [name for name in peers if name in together and name not in ("jax", *SORTING)]
    fastest = min(others, key=lambda name: together[name]["milliseconds"], default=None)
    table = []
    for name, bar in (("tiled", 12), ("fast", 150)):
        rival = f"{NAMES[fastest]}, the fastest other library" if fastest else "no other library"
        shown = text(ratio, together.get(fastest), together.get(name))
        table.append((f"P = 1,000, N = 10,000: {name} against {rival}", f">= {bar} x", shown))
    for name in ("tiled", "fast"):
        shown = text(ratio, together.get("jax"), together.get(name))
        table.append((f"the same: {name} against a broadcast in JAX", "", shown))
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
        ("1e6 scores, heavy tails", "", text(ratio, row("fast", 10**6, 10**5, "cauchy"), decades[1])),
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


def crossovers(measured, limit: int) -> list[tuple[str, str, str]]:
    """(surrogate, scores from which `fast` takes less time than `tiled`, what `auto` does), 10% positives."""
    from mammojax.benchmarks.loss.measurements import Measurements
    from mammojax.losses.pairwise import choose_implementation
    from mammojax.losses.surrogates import SURROGATES

    table, sizes = [], [size for size in CROSSOVER_SIZES if size <= limit]
    for surrogate in SURROGATES if sizes else ():
        here = Measurements(surrogate, measured.repeats, measured.budget, say)
        wins = []
        for size in sizes:
            rows = here.measure("crossover", ["tiled", "fast"], size, size // 10)
            fast, tiled = (
                rows[name]["milliseconds"] if name in rows else float("inf") for name in ("fast", "tiled")
            )
            wins.append(fast < tiled)  # one that is skipped takes too long
        measured.rows += here.rows
        measured.skipped += here.skipped
        # the first size from which it wins at every one
        lost = max((k for k, won in enumerate(wins) if not won), default=-1)
        found = f"{sizes[lost + 1]:,}" if lost + 1 < len(wins) else f"above {sizes[-1]:,}"
        taken = [n for n in sizes if choose_implementation(n, surrogate)[0] == "fast"]
        table.append((surrogate, found, f"fast from {taken[0]:,} of these sizes on" if taken else "tiled"))
    return table


def draw(out: Path, measured, rate: float, epoch_rows: list[dict], device: str) -> None:
    """sweep.png and epoch.png, each if its part was measured, and cells.png, which explains `fast`."""
    from mammojax.benchmarks.loss import figures as loss_figures
    from mammojax.benchmarks.loss.epoch import BATCH
    from mammojax.report.figures import save_figure

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
        times = curves(swept, "program", "scores", "seconds")
        stated = [row for row in swept if row.get("memory_source") == "compiled program"]
        memory = curves(stated, "program", "scores", "temporary_bytes")
        save_figure(loss_figures.sweep_figure(times, memory, f"{what}; {device}"), out / "sweep.png")
    save_figure(loss_figures.cells_figure(), out / "cells.png")
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

    from mammojax.benchmarks.loss import peers as loss_peers
    from mammojax.benchmarks.loss.measurements import COLUMNS, Measurements
    from mammojax.benchmarks.loss.tables import document
    from mammojax.benchmarks.timing import device_name
    from mammojax.errors import UserError
    from mammojax.losses.surrogates import SURROGATES
    from mammojax.runs.files import check_writable, writing

    for flag, given, known in (
        ("part", PART.value, PARTS),
        ("implementations", IMPLEMENTATIONS.value, loss_peers.IMPLEMENTATIONS),
        ("peers", PEERS.value, tuple(loss_peers.PEERS)),
        ("surrogate", [SURROGATE.value], tuple(SURROGATES)),
    ):
        for name in given:
            if name not in known:
                raise UserError(f"--{flag}: unknown {name!r}; choose from {', '.join(known)}")
    out = Path(OUT.value)
    check_writable(out)
    measured = Measurements(SURROGATE.value, REPEATS.value, BUDGET.value, say)
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
    crossover_rows = crossovers(measured, sizes[-1]) if "crossover" in PART.value else []
    with writing(out / "measurements.csv", "w") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(measured.rows)
    text = document(
        measured.rows,
        epoch_rows,
        bar_rows,
        crossover_rows,
        measured.skipped,
        command=shlex.join(["python", "-m", "launch.benchmark_loss", *sys.argv[1:]]),
        device=device,
        surrogate=measured.surrogate,
        repeats=measured.repeats,
    )
    with writing(out / "benchmark.md", "w") as file:
        file.write(text)
    draw(out, measured, rates[0], epoch_rows, device)
    say("\n" + text[text.index("## What must hold") :] if bar_rows else "")
    for where, program, reason in measured.skipped:
        say(f"skipped: {program}, {where}: {reason}")
    say(f"results: {out}")


if __name__ == "__main__":
    command_line.run(main)
