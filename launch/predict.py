"""Scores new DICOM, PNG, TIFF or PGM files with a trained run and writes a CSV.

A row a file: score (calibrated log-odds, larger is more suspicious), its probability, the breast box that was used, the
films that it was read with, or the reason why the file could not be scored. Research use only.

Example:
  python -m launch.predict --run=runs/mias --output=scores.csv NEW_FILES_OR_FOLDERS...
"""

import csv
import shutil
from pathlib import Path

from absl import flags

from launch import command_line
from launch.command_line import say, track

if __name__ == "__main__":
    RUN = flags.DEFINE_string("run", "", "the run directory of a finished cross-validation")
    ARM = flags.DEFINE_string("arm", "", "which arm's networks score; empty: the proposed one")
    OUTPUT = flags.DEFINE_string("output", "", "the CSV to write; empty: predicted.csv in the current folder")
    MAPS = flags.DEFINE_string(
        "maps",
        "",
        "a folder for the map of each file, its picture (PNG) and values (npz), named by the number of its row",
    )
    WEIGHTS = flags.DEFINE_string(
        "weights", "", "the scanning network's weights; empty: where they were in training"
    )
    LIKE = flags.DEFINE_string(
        "like",
        "",
        "of a run trained on several sets, the one whose films these are like: its units are taken",
    )


def main(arguments: list[str]) -> None:
    from mammojax.errors import UserError
    from mammojax.experiment.fit import made_by
    from mammojax.experiment.model import Model
    from mammojax.experiment.predict import COLUMNS, cell_maps, files_of, predict
    from mammojax.experiment.table import read_table
    from mammojax.runs.files import check_target, writing

    if not RUN.value:
        raise UserError("--run is empty; give the run directory of a finished cross-validation")
    output = Path(OUTPUT.value or "predicted.csv")
    if output.is_dir():
        raise UserError(
            f"--output is {output}, a folder; give the name of a file, such as {output / 'scores.csv'}"
        )
    for folder in (output.parent, *([Path(MAPS.value)] if MAPS.value else [])):
        check_target(folder)
    files = files_of(arguments)
    table = read_table(Path(RUN.value))
    arm = ARM.value or table.proposed
    folders = table.folders(arm)
    model = Model(folders, weights=WEIGHTS.value, like=LIKE.value)
    control = made_by(folders[0]).get("control", "none")
    if control != "none":
        say(
            f"note: the run is a control (config.crossval.control={control}), not a study: its scores say nothing of films"
        )
    if MAPS.value:
        model.check_cell_scores()
    work = output.with_name(f".{output.name}.{model.key}.work")
    rows = list(predict(model, files, work, say=say, track=track))
    with writing(output, "w") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    if MAPS.value:
        from mammojax.report.overlays import write_overlays

        maps = track(cell_maps(model, files, work), total=len(files), description="maps")
        say(f"{write_overlays(Path(MAPS.value), maps)} maps, named by the row's number: {MAPS.value}")
    shutil.rmtree(work, ignore_errors=True)
    failed = [row for row in rows if row["reason"]]
    say(
        f"{len(rows) - len(failed)} of {len(rows)} files scored with {len(model)} networks of the arm {arm}: {output}"
    )
    for row in failed[:5]:
        say(f"  not scored: {row['file']}: {row['reason']}")
    if len(failed) == len(rows):
        raise UserError(f"none of {len(rows)} files could be scored; the reasons are in {output}")


if __name__ == "__main__":
    command_line.run(main)
