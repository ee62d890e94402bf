"""Cross-validates arms on one data set: files in, table and report out.

Prepares, scans, trains every arm on every fold and evaluates; what is finished is reused, so the same command goes on
after a kill and is done in seconds when all is there. Several processes with the same command share the work. With --arm or
--fold it makes these cells alone, and no table.

Examples:
  python -m launch.crossval --config=configs/phantom.py
  python -m launch.crossval --config=configs/mias.py --config.data.source=FOLDER --config.training.epochs=40
  python -m launch.crossval --config=configs/mias.py --config.data.source=FOLDER --arm=auc --fold=0,1
"""

from absl import flags

from launch import command_line, joining, profiling
from launch.command_line import command, say, track

if __name__ == "__main__":
    joining.define_flags()
    PROFILE = profiling.define_flag()
    ARM = flags.DEFINE_string(
        "arm", "", "only these arms, as they are written in config.crossval.arms; empty: all"
    )
    FOLD = flags.DEFINE_list("fold", [], "only these folds, from 0; empty: all")


def main(settings, arguments: list[str]) -> None:
    from mammojax.errors import UserError
    from mammojax.experiment import crossval
    from mammojax.report.run import evaluate
    from mammojax.runs import processes
    from mammojax.settings.check import elements

    command_line.no_arguments(arguments)
    arms = elements(ARM.value)
    try:
        folds = [int(fold) for fold in FOLD.value]
    except ValueError:
        raise UserError(f"--fold={','.join(FOLD.value)}: expected numbers from 0, such as 0,1") from None
    picked = bool(arms or folds)
    run = crossval(
        settings,
        arms=arms,
        folds=folds,
        table=not picked,
        profile=profiling.steps(PROFILE.value),
        say=say,
        track=track,
    )
    if picked:
        say("these cells are made; the same command without --arm and --fold makes the others and the table")
        return
    if not processes.is_first():
        return  # the table is written once; the first process ends this one
    table, report = evaluate(run.directory, command=command(), say=say)
    say("\n" + table)
    say(f"report: {report}")


if __name__ == "__main__":
    command_line.run(main, config="configs/phantom.py")
