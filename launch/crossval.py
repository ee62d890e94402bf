"""Cross-validates the paper's arms on one data set: files in, table and report out.

Prepares, scans, trains every arm on every fold and evaluates; what is finished is reused, so the same command goes on
after a kill and is done in seconds when all is there.

Examples:
  python -m launch.crossval --config=configs/phantom.py
  python -m launch.crossval --config=configs/mias.py --config.data.source=FOLDER --config.training.epochs=40
"""

from pathlib import Path

from launch import command_line
from launch.command_line import say, track


def main(settings, arguments: list[str]) -> None:
    from launch.evaluate import evaluated
    from launch.prepare import describe, prepared
    from launch.scan import network
    from launch.train import cell, inputs, recipes, splits
    from mammojax.experiment.fit import check_arm, describe_cell
    from mammojax.runs.environment import record_settings
    from mammojax.settings import notes, to_mapping

    command_line.no_arguments(arguments)
    arms = settings.crossval.arms
    for arm in arms:
        check_arm(arm)
    for note in notes(settings):
        say(f"note: {note}")
    recipes(settings)  # what cannot be trained is said before anything is prepared
    net = network(settings)
    record_settings(Path(settings.run), to_mapping(settings))
    records = prepared(settings)
    describe(settings, records)
    parts = splits(settings, records)
    say(f"scanning network: {net.provenance}")
    read = inputs(settings, arms, records, net)
    for arm, part in track(
        [(a, p) for a in arms for p in parts], total=len(arms) * len(parts), description="cells"
    ):
        say(describe_cell(cell(settings, arm, part, records, read)))
    say(f"report: {evaluated(Path(settings.run), to_mapping(settings))}")


if __name__ == "__main__":
    command_line.run(main, config="configs/phantom.py")
