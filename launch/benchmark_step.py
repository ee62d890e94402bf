"""What a training and a scan cost beside what is computed: ratios within one run, against their goals.

stage_one: the share of a fit that is not in its compiled steps (goal: at most 10%). checkpoint: the share of the time that
checkpoints take at the default interval of ten minutes (goal: under 5%). processes: images a second of processes of one core
each beside one alone (goal: 1.7 of two). table: the time that they take for a cross-validation, from films to the report, beside
one alone (goal: 0.6 of two; some minutes, and only when it is asked for). The machine should be quiet: what else runs is
measured too.

Examples:
  python -m launch.benchmark_step
  python -m launch.benchmark_step --part=stage_one --samples=128 --np=8 --channels=64 --epochs=4
  python -m launch.benchmark_step --part=table --patients=24
"""

import os

from absl import flags

from launch import command_line
from launch.command_line import say

USUAL = ("stage_one", "checkpoint", "processes")
PARTS = (*USUAL, "table")

if __name__ == "__main__":
    PART = flags.DEFINE_list("part", list(USUAL), "which measurements")
    SAMPLES = flags.DEFINE_integer("samples", 160, "maps of the training set", lower_bound=2)
    NP = flags.DEFINE_integer("np", 15, "cells of a map along each axis", lower_bound=1, upper_bound=256)
    CHANNELS = flags.DEFINE_integer("channels", 112, "of a map", lower_bound=1)
    BATCH = flags.DEFINE_integer("batch", 16, "maps a step", lower_bound=1)
    EPOCHS = flags.DEFINE_integer("epochs", 4, "of a fit", lower_bound=2)
    CROP = flags.DEFINE_list("crop", ["1024", "832"], "rows,columns of a film's crop that is scanned, pixels")
    IMAGES = flags.DEFINE_integer("images", 5, "scanned by each process in a turn", lower_bound=1)
    PROCESSES = flags.DEFINE_integer("processes", 2, "of one core each", lower_bound=1)
    PATIENTS = flags.DEFINE_integer("patients", 24, "of the cross-validation, four films each", lower_bound=8)
    REPEATS = flags.DEFINE_integer("repeats", 3, "turns, of which the best counts", lower_bound=1)


def main(arguments: list[str]) -> None:
    from mammojax.benchmarks.step import processes, stage_one, table
    from mammojax.benchmarks.tables import bytes_text
    from mammojax.benchmarks.timing import device_name
    from mammojax.errors import UserError

    command_line.no_arguments(arguments)
    unknown = [part for part in PART.value if part not in PARTS]
    if unknown:
        raise UserError(f"--part: unknown {unknown[0]!r}; choose from {', '.join(PARTS)}")
    if len(CROP.value) != 2 or not all(side.isdecimal() and int(side) for side in CROP.value):
        raise UserError(
            f"--crop is {','.join(CROP.value)!r}; expected rows,columns in pixels, such as 1024,832"
        )
    say(f"{device_name()}; load before: {os.getloadavg()[0]:.1f}")
    if {"stage_one", "checkpoint"} & set(PART.value):
        training = stage_one.Training(
            samples=SAMPLES.value,
            cells=NP.value,
            channels=CHANNELS.value,
            batch=BATCH.value,
            epochs=EPOCHS.value,
        )
        what = f"{SAMPLES.value} maps of {NP.value} x {NP.value} x {CHANNELS.value}, {BATCH.value} a step"
        if "stage_one" in PART.value:
            found = stage_one.outside(training, repeats=REPEATS.value)
            say(
                f"stage one, {what}, {EPOCHS.value} epochs: {found.fit:.3g} s, {found.share:.1%} of it outside the compiled "
                f"steps (goal: at most 10%)"
            )
        if "checkpoint" in PART.value:
            saved = stage_one.saving(training, repeats=REPEATS.value, epochs=EPOCHS.value)
            say(
                f"checkpoint, {bytes_text(saved.bytes)}: {saved.seconds:.3g} s of the loop, {saved.share:.2%} of the time at "
                f"one in ten minutes (goal: under 5%)"
            )
    if "processes" in PART.value:
        try:
            seen = processes.throughput(
                processes=PROCESSES.value,
                crop=(int(CROP.value[0]), int(CROP.value[1])),
                images=IMAGES.value,
                repeats=REPEATS.value,
            )
        except ValueError as error:
            raise UserError(f"--processes={PROCESSES.value}: {error}") from error
        say(
            f"scan of {' x '.join(CROP.value)} pixels: {seen.processes} processes of one core do {seen.ratio:.2f} times the "
            f"images of one ({seen.alone:.3g} a second alone; goal for two: 1.7)"
        )
    if "table" in PART.value:
        try:
            took = table.shared(processes=PROCESSES.value, patients=PATIENTS.value)
        except ValueError as error:
            raise UserError(f"--processes={PROCESSES.value}: {error}") from error
        say(
            f"cross-validation of {PATIENTS.value} patients: {took.processes} processes of one core take {took.share:.2f} of the "
            f"time of one ({took.alone:.0f} s; goal for two: 0.6)"
        )


if __name__ == "__main__":
    command_line.run(main)
