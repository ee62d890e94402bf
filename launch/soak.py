"""Kills a small cross-validation again and again and compares what comes of it with an undisturbed one, to the byte.

Films are made, prepared, scanned, two arms trained and evaluated, by one process and by two; SIGKILL and SIGTERM come at
random moments, and in between files of unfinished fits (checkpoints, the scores and metrics beside them) are emptied,
truncated, flipped and removed, each kind of file in turn.
A run that is done is compared, and a new one is begun, until so many kills were made. Everything lies in the folder, of
runs with the right bytes the log alone; exit code 1 if any byte differs.

Examples:
  python -m launch.soak --kills=100 --folder=runs/soak
  python -m launch.soak --kills=10 --folder=runs/soak --processes=2 --config.data.phantom.patients=12
"""

import tempfile
from collections import Counter
from pathlib import Path

from absl import flags

from launch import command_line
from launch.command_line import say

if __name__ == "__main__":
    KILLS = flags.DEFINE_integer("kills", 100, "kills in all", lower_bound=1)
    FOLDER = flags.DEFINE_string("folder", "", "where the runs lie; empty: a folder of the system's own")
    PROCESSES = flags.DEFINE_list(
        "processes", ["1", "2"], "how many run at a time, one round for each number"
    )
    SEED = flags.DEFINE_integer("seed", 0, "of the moments")


def work_of(settings):
    """work(run directory, say) of `soak`: the whole cross-validation, in a run directory of its own."""
    from mammojax.settings import with_overrides

    def work(place: Path, say) -> None:
        from mammojax.experiment import crossval
        from mammojax.report.run import evaluate

        own = with_overrides(settings, {"run": str(place), "data.source": str(place / "dicom")})
        run = crossval(own, say=say, track=command_line.track)
        evaluate(run.directory, command="launch.soak", say=say)

    return work


def main(settings, arguments: list[str]) -> None:
    import mammojax.experiment.crossval
    import mammojax.report.gathered  # noqa: F401 (loaded once, before the forks)
    from mammojax.benchmarks.survival import soak
    from mammojax.errors import UserError

    command_line.no_arguments(arguments)
    folder = Path(FOLDER.value or tempfile.mkdtemp(prefix="soak-")).absolute()
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; give a fresh folder with --folder")
    if not PROCESSES.value or not all(text.isdecimal() and int(text) for text in PROCESSES.value):
        raise UserError(f"--processes={','.join(PROCESSES.value)}: expected numbers from 1, such as 1,2")
    processes = [int(text) for text in PROCESSES.value]
    seen = soak(work_of(settings), folder, kills=KILLS.value, processes=processes, seed=SEED.value, say=say)
    say(f"{KILLS.value} kills, {seen.rounds} runs, {seen.starts} starts; killed in: {_counts(seen.phases)}")
    damages = Counter()
    for (how, _kind), number in seen.altered.items():
        damages[how] += number
    kinds = len({name for _, name in seen.altered})
    say(
        f"exit codes of those killed: {_counts(seen.codes)}; files of fits damaged: {_counts(damages)}, of {kinds} kinds"
    )
    say(f"said: {_counts(seen.resumes)}")
    if seen.differing:
        raise SystemExit(
            f"error: {len(seen.differing)} files differ: {', '.join(seen.differing[:5])}; see {folder}"
        )
    say(f"table, predictions, metrics and networks are those of the undisturbed run, to the byte: {folder}")


def _counts(counter) -> str:
    return ", ".join(f"{name} {number}" for name, number in counter.most_common()) or "none"


if __name__ == "__main__":
    command_line.run(main, config="configs/soak.py")
