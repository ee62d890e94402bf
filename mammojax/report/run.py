"""The results of a run directory: its table's cells, gathered and written."""

from pathlib import Path

from mammojax.experiment.table import read_table
from mammojax.report.results import write_results
from mammojax.runs.files import read_json


def evaluate(directory: Path, *, command: str) -> tuple[str, Path]:
    """Writes predictions.csv, table.md, table.json, figures/ and report.html of a finished cross-validation.

    Returns the table in Markdown and the report's path. command: what makes the run again. Raises UserError if cells are
    missing, damaged or of different recipes.
    """
    directory = Path(directory)
    table = read_table(directory)
    config = read_json(directory / "config.json")
    cells = [
        (arm, entry.repeat, entry.fold, folder)
        for arm, entries in table.arms.items()
        for entry, folder in zip(entries, table.folders(arm))
    ]
    data, model = config["data"], config["model"]
    return write_results(
        directory,
        cells,
        titles=table.titles,
        colours=table.colours,
        proposed=table.proposed,
        seed=config["seed"],
        resamples=config["crossval"]["resamples"],
        title=f"mammojax: {data['name']}, {config['crossval']['folds']}-fold cross-validation",
        command=command,
        facts={
            "Data set": data["name"],
            "Label scheme": data["labels"] or "the data set's default",
            "Scanning network": model["backbone"],
        },
        config=config,
    )
