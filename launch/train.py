"""Trains one arm, on one fold or on all: cells of the table.

Prepares, scans and splits first if that has not been done. A killed run goes on where it was.

Example:
  python -m launch.train --config=configs/mias.py --config.data.source=FOLDER --arm=auc --fold=0
"""

from absl import flags

from launch import command_line, joining, profiling
from launch.command_line import say, track

if __name__ == "__main__":
    joining.define_flags()
    PROFILE = profiling.define_flag()
    ARM = flags.DEFINE_string("arm", "auc", "the arm, as it is written in config.crossval.arms")
    FOLD = flags.DEFINE_integer(
        "fold", -1, "the fold that is held out, from 0; -1: every fold", lower_bound=-1
    )


def main(settings, arguments: list[str]) -> None:
    from mammojax.experiment import crossval
    from mammojax.settings import with_overrides

    command_line.no_arguments(arguments)
    if ARM.value not in settings.crossval.arms:
        settings = with_overrides(settings, {"crossval.arms": (ARM.value,), "crossval.proposed": ""})
    crossval(
        settings,
        arms=[ARM.value],
        folds=[FOLD.value] if FOLD.value >= 0 else (),
        profile=profiling.steps(PROFILE.value),
        say=say,
        track=track,
        table=False,
    )


if __name__ == "__main__":
    command_line.run(main, config="configs/phantom.py")
