"""Looks at a data set before a run: one page with counts, folds, shortcuts to the label, duplicates and films with boxes.

Prepares the data set first if that has not been done; the run reuses it. A classifier that sees only how films were taken
and stored should have an AUC of 0.5: what it has above that, a network can learn too.

Example:
  python -m launch.inspect --config=configs/mias.py --config.data.source=FOLDER
"""

from pathlib import Path

from launch import command_line
from launch.command_line import say, track


def main(settings, arguments: list[str]) -> None:
    from mammojax.errors import UserError
    from mammojax.experiment.crossval import describe
    from mammojax.experiment.inputs import prepared
    from mammojax.survey.page import survey

    command_line.no_arguments(arguments)
    if settings.data.also:
        raise UserError("config.data.also is set; a page looks at one set, look at each of them alone")
    records = prepared(settings, say=say, track=track)
    describe(settings, records, say)
    found = survey(
        records,
        Path(settings.run),
        folds=settings.crossval.folds,
        seed=settings.seed,
        command=command_line.command(),
    )
    if found.shortcut is None:
        say("shortcuts: not measured, a class has fewer than two patients")
    else:
        e = found.shortcut
        interval = (
            f"{e.low:.3f} to {e.high:.3f}" if e.low <= e.high else "no interval"
        )  # NaN where there is none
        say(f"the label from facts of acquisition alone: AUC {e.value:.3f} ({interval}); it should be 0.5")
    for warning in found.warnings:
        say(f"  warning: {warning}")
    say(f"the page: {found.page}")


if __name__ == "__main__":
    command_line.run(main, config="configs/phantom.py")
