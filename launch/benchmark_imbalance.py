"""Compares losses on one head under imbalance: held-out AUC against the positives that are left in training.

Real representations (or the phantom's), the head of an arm, patient-wise folds; learning rate and decay of every loss are
chosen inside the training folds, for each share of positives, by the same grid and number of trials. Writes into --out:
imbalance.md (the tables), imbalance.json, imbalance.png. What is finished is reused; several processes with the same
command share the work.

Examples:
  python -m launch.benchmark_imbalance --config=configs/phantom.py
  python -m launch.benchmark_imbalance --config=configs/mias.py --config.data.source=FOLDER --arm=breasts_bce --draws=5
"""

from pathlib import Path

from absl import flags

from launch import command_line
from launch.command_line import command, say, track

if __name__ == "__main__":
    OUT = flags.DEFINE_string("out", "", "folder of the results; empty: RUN/imbalance")
    ARM = flags.DEFINE_string(
        "arm", "cells_bce", "whose head: cells_bce, or breasts_bce with the other breast"
    )
    LOSSES = flags.DEFINE_list("losses", "", "names of contenders; empty: the table's")
    SHARES = flags.DEFINE_list(
        "shares", "1,0.5,0.2,0.1,0.05,0.02", "of the positives that are left in training"
    )
    DRAWS = flags.DEFINE_integer("draws", 10, "of what is left and of first weights", lower_bound=1)
    RATES = flags.DEFINE_list("rates", "0.01,0.03,0.1", "learning rates of the grid")
    DECAYS = flags.DEFINE_list("decays", "0.1,0.5,2,8", "decays of the grid")
    TRIALS = flags.DEFINE_integer("trials", 4, "draws and inner folds that choose", lower_bound=1)
    RESAMPLES = flags.DEFINE_integer("resamples", 1000, "of the bootstrap", lower_bound=2)


def main(settings, arguments: list[str]) -> None:
    command_line.no_arguments(arguments)
    shares = sorted(numbers("shares", SHARES.value, 1.0), reverse=True)
    rates, decays = numbers("rates", RATES.value, 100.0), numbers("decays", DECAYS.value, 1e6)

    from mammojax.benchmarks.imbalance.compare import compare
    from mammojax.benchmarks.imbalance.contenders import CONTENDERS, TABLE
    from mammojax.benchmarks.imbalance.study import Design
    from mammojax.errors import UserError

    names = LOSSES.value or list(TABLE)
    for name in names:
        if name not in CONTENDERS:
            raise UserError(f"--losses: unknown {name!r}; choose from {', '.join(CONTENDERS)}")
    design = Design(
        shares=tuple(shares),
        draws=DRAWS.value,
        rates=tuple(rates),
        decays=tuple(decays),
        trials=TRIALS.value,
        seed=settings.seed,
    )
    out = Path(OUT.value or Path(settings.run) / "imbalance")
    text = compare(
        settings,
        ARM.value,
        names,
        design,
        out,
        resamples=RESAMPLES.value,
        command=command(),
        say=say,
        track=track,
    )
    say("\n" + text)


def numbers(flag: str, values: list[str], most: float) -> list[float]:
    """The distinct numbers of a list flag; UserError for what is none or out of range."""
    from mammojax.errors import UserError

    try:
        found = sorted({float(value) for value in values})
    except ValueError:
        found = []
    if not found or not all(0 < value <= most for value in found):
        raise UserError(
            f"--{flag}={','.join(values)}: expected numbers above 0 and up to {most:g}, with commas between"
        )
    return found


if __name__ == "__main__":
    command_line.run(main, config="configs/phantom.py")
