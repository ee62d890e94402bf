"""Prepares a data set: decodes every file, finds the breast, crops, and packs the crops; once, resumable.

Prints the account of every file; writes contact sheets with the boxes, accounts.csv and rejected.csv.

Example:
  python -m launch.prepare --config=configs/mias.py --config.data.source=FOLDER
"""

from launch import command_line
from launch.command_line import say, track


def main(settings, arguments: list[str]) -> None:
    from mammojax.experiment.crossval import describe
    from mammojax.experiment.inputs import prepared

    command_line.no_arguments(arguments)
    describe(settings, prepared(settings, say=say, track=track), say)


if __name__ == "__main__":
    command_line.run(main, config="configs/phantom.py")
