"""Evaluates a finished cross-validation again: table, intervals, figures, predictions.csv and report.html. With --on, tests
its networks on another set.

Without --on it reads nothing but the run directory: the cells that the table there is made of. With --on=CONFIG it prepares
that config's set, scores it with the run's networks, without training and calibrated as they were, and writes the same
table and report for it into RUN/external.

Examples:
  python -m launch.evaluate --run=runs/mias
  python -m launch.evaluate --run=runs/mias --on=configs/folder.py --config.data.source=FOLDER
"""

from pathlib import Path

from absl import flags

from launch import command_line
from launch.command_line import command, say, track

if __name__ == "__main__":
    RUN = flags.DEFINE_string("run", "", "the run directory")
    ON = flags.DEFINE_string("on", "", "the config file of another set to test on; its fields are flags")
    ARMS = flags.DEFINE_string(
        "arms", "", "--on: the arms to test, as they are written in the run's table; empty: all of it"
    )
    STANDARDISE = flags.DEFINE_enum(
        "standardise",
        "train",
        ["train", "own"],
        "--on: channels in units of the training folds, or of the other set's tissue cells (no labels are used)",
    )
    LIKE = flags.DEFINE_string(
        "like", "", "--on: of a run trained on several sets, the one in whose units the other set comes"
    )
    WEIGHTS = flags.DEFINE_string(
        "weights", "", "--on: the scanning network's weights; empty: where they were in training"
    )


def main(settings, arguments: list[str]) -> None:
    from mammojax.errors import UserError
    from mammojax.report.run import evaluate

    command_line.no_arguments(arguments)
    if not RUN.value:
        raise UserError("--run is empty; give a run directory, such as --run=runs/phantom")
    directory = Path(RUN.value)
    for flag, given in (
        ("arms", ARMS.value),
        ("standardise", STANDARDISE.value != "train"),
        ("like", LIKE.value),
        ("weights", WEIGHTS.value),
    ):
        if given and settings is None:
            raise UserError(f"--{flag} is for another set; give its config too: --on=CONFIG")
    if settings is not None:
        from mammojax.experiment.external import external
        from mammojax.settings.check import elements

        options = {
            "arms": elements(ARMS.value),
            "standardise": STANDARDISE.value,
            "like": LIKE.value,
            "weights": WEIGHTS.value,
        }
        directory = external(directory, settings, **options, say=say, track=track)
    table, report = evaluate(directory, command=command(), say=say)
    say("\n" + table)
    say(f"report: {report}")


if __name__ == "__main__":
    command_line.run(main, config="", file_flag="on")
