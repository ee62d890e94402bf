"""Evaluates a finished cross-validation again: table, intervals, figures, predictions.csv and report.html.

Reads nothing but the run directory: the cells that the table there is made of.

Example:
  python -m launch.evaluate --run=runs/mias
"""

from pathlib import Path

from absl import flags

from launch import command_line
from launch.command_line import command, say

if __name__ == "__main__":
    RUN = flags.DEFINE_string("run", "", "the run directory")


def main(arguments: list[str]) -> None:
    from mammojax.errors import UserError
    from mammojax.report.run import evaluate

    command_line.no_arguments(arguments)
    if not RUN.value:
        raise UserError("--run is empty; give a run directory, such as --run=runs/phantom")
    table, report = evaluate(Path(RUN.value), command=command())
    say("\n" + table)
    say(f"report: {report}")


if __name__ == "__main__":
    command_line.run(main)
