"""Cross-validates arms on one data set: files in, table and report out.

Prepares, scans, trains every arm on every fold and evaluates; what is finished is reused, so the same command goes on
after a kill and is done in seconds when all is there. Several processes with the same command share the work.

Examples:
  python -m launch.crossval --config=configs/phantom.py
  python -m launch.crossval --config=configs/mias.py --config.data.source=FOLDER --config.training.epochs=40
"""

from launch import command_line
from launch.command_line import command, say, track


def main(settings, arguments: list[str]) -> None:
    from mammojax.experiment import crossval
    from mammojax.report.run import evaluate

    command_line.no_arguments(arguments)
    run = crossval(settings, say=say, track=track)
    table, report = evaluate(run.directory, command=command(), say=say)
    say("\n" + table)
    say(f"report: {report}")


if __name__ == "__main__":
    command_line.run(main, config="configs/phantom.py")
