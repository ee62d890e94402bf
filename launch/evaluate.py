"""Evaluates a run whose cells are trained: table, intervals, figures, predictions.csv and report.html.

Reads nothing but the run directory.

Example:
  python -m launch.evaluate --run=runs/mias
"""

import shlex
import sys
from pathlib import Path

from absl import flags

from launch import command_line
from launch.command_line import say

if __name__ == "__main__":
    RUN = flags.DEFINE_string("run", "", "the run directory")


def evaluated(directory: Path, config: dict) -> Path:
    """Writes all results of a run; prints the table and returns the report's path."""
    from mammojax.report.results import write_results

    command = shlex.join(["python", "-m", f"launch.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
    table, report = write_results(directory, config, command=command)
    say("\n" + table)
    return report


def main(arguments: list[str]) -> None:
    from mammojax.errors import UserError
    from mammojax.runs.files import read_json

    command_line.no_arguments(arguments)
    if not RUN.value:
        raise UserError("--run is empty; give a run directory, such as --run=runs/phantom")
    directory = Path(RUN.value)
    say(f"report: {evaluated(directory, read_json(directory / 'config.json'))}")


if __name__ == "__main__":
    command_line.run(main)
