"""Scores new DICOM, PNG, TIFF or PGM files with a trained run and writes a CSV.

A row a file: score (a logit, larger is more suspicious), calibrated probability, the breast box that was used, or the
reason why the file could not be scored. Research use only.

Example:
  python -m launch.predict --run=runs/mias --output=scores.csv NEW_FILES_OR_FOLDERS...
"""

import contextlib
import csv
from pathlib import Path

from absl import flags

from launch import command_line
from launch.command_line import say, track

if __name__ == "__main__":
    RUN = flags.DEFINE_string("run", "", "the run directory of a finished cross-validation")
    ARM = flags.DEFINE_string("arm", "auc", "which arm's networks score")
    OUTPUT = flags.DEFINE_string("output", "", "the CSV to write; empty: predicted.csv in the current folder")


def resumed(partial: Path) -> list[dict]:
    """Rows that a killed run had finished; a last line cut short is left out."""
    if not partial.is_file():
        return []
    with partial.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if None not in row.values()]
    return [row for row in rows if row["score"] or row["reason"]]


@contextlib.contextmanager
def appending(partial: Path, columns):
    """append(row): a row on disk as soon as it is scored."""
    fresh = not partial.is_file()
    with partial.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        if fresh:
            writer.writeheader()

        def append(row: dict) -> None:
            writer.writerow(row)
            file.flush()

        yield append


def main(arguments: list[str]) -> None:
    from mammojax.errors import UserError
    from mammojax.experiment.predict import COLUMNS, files_of, load_model, predict
    from mammojax.runs import stages
    from mammojax.runs.files import writing

    if not RUN.value:
        raise UserError("--run is empty; give the run directory of a finished cross-validation")
    files = files_of(arguments)
    model = load_model(Path(RUN.value), ARM.value)
    output = Path(OUTPUT.value or "predicted.csv")
    partial = output.with_name(f".{output.name}.{stages.key(run=RUN.value, arm=ARM.value)}.partial")
    rows = resumed(partial)
    if rows:
        say(f"{len(rows)} files were scored before; going on")
    done = {row["file"] for row in rows}
    files = [(name, path) for name, path in files if name not in done]
    with appending(partial, COLUMNS) as append:
        for row in track(predict(model, files), total=len(files), description="scoring"):
            append(row)
            rows.append(row)
    with writing(output, "w") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    partial.unlink()
    failed = [row for row in rows if row["reason"]]
    say(
        f"{len(rows) - len(failed)} of {len(rows)} files scored with {len(model.calibrations)} networks of the arm "
        f"{ARM.value}: {output}"
    )
    for row in failed[:5]:
        say(f"  not scored: {row['file']}: {row['reason']}")
    if len(failed) == len(rows):
        raise UserError(f"none of {len(rows)} files could be scored; the reasons are in {output}")


if __name__ == "__main__":
    command_line.run(main)
