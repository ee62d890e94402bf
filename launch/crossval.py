"""Cross-validates the paper's arms on one data set: files in, table and report out.

Prepares, scans, trains every arm on every fold and evaluates; what is finished is reused, so the same command goes on
after a kill and is done in seconds when all is there.

Examples:
  python -m launch.crossval --config=configs/phantom.py
  python -m launch.crossval --config=configs/mias.py --config.data.source=FOLDER --config.training.epochs=40
"""

from pathlib import Path

from launch import command_line
from launch.command_line import say


def main(config, arguments: list[str]) -> None:
    from launch.evaluate import evaluated
    from launch.prepare import describe, prepared
    from launch.scan import network
    from launch.train import cell, splits
    from mammojax import run
    from mammojax.evaluation.crossval import check_arm

    command_line.no_arguments(arguments)
    for arm in config.crossval.arms:
        check_arm(arm)
    run.record_settings(Path(config.run), config.to_dict())
    records = prepared(config)
    describe(records)
    net = network(config)
    say(f"scanning network: {net.provenance}")
    parts = splits(config, records)
    for arm in config.crossval.arms:
        for part in parts:
            cell(config, arm, part, records, net)
    say(f"report: {evaluated(Path(config.run))}")


if __name__ == "__main__":
    command_line.run(main, config="configs/phantom.py")
