"""The results of a run directory, or of one of its external validations: its table's cells, gathered and written."""

from pathlib import Path

from mammojax.experiment.external import FACTS_FILE
from mammojax.experiment.table import Table, read_table
from mammojax.report.collect import Cell, collect
from mammojax.report.external import calibration_drift
from mammojax.report.results import NOTES, write_results
from mammojax.runs.files import read_json

EXTERNAL_NOTES = (
    "No network was trained, chosen or calibrated here: every record was scored by all networks of an arm, those of every "
    "fold and repeat, and their calibrated log-odds were averaged. There are no folds: patients are resampled from all, "
    "and the mean over folds and the pooled AUC are one number.",
)


def evaluate(directory: Path, *, command: str) -> tuple[str, Path]:
    """Writes predictions.csv, table.md, table.json, figures/ and report.html of a finished cross-validation, or of the
    directory that `external` gives.

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
    own = _of_external if (directory / FACTS_FILE).is_file() else _of_crossval
    return write_results(
        directory,
        cells,
        titles=table.titles,
        colours=table.colours,
        proposed=table.proposed,
        seed=config["seed"],
        resamples=config["crossval"]["resamples"],
        command=command,
        config=config,
        **own(directory, table, cells, config),
    )


def _of_crossval(directory: Path, table: Table, cells: list[Cell], config: dict) -> dict:
    data = config["data"]
    return {
        "title": f"mammojax: {data['name']}, {config['crossval']['folds']}-fold cross-validation",
        "facts": {**_set(config), "Scanning network": config["model"]["backbone"]},
        "notes": NOTES,
    }


def _of_external(directory: Path, table: Table, cells: list[Cell], config: dict) -> dict:
    facts = read_json(directory / FACTS_FILE)
    options = {"seed": config["seed"], "resamples": config["crossval"]["resamples"]}
    predictions = collect(cells, path=directory / "predictions.csv")
    exams = [table.titles[arm] for arm in facts["reads_exams"]]
    notes = [*EXTERNAL_NOTES, f"Channels are standardised by {facts['statistics']}."]
    if exams:
        notes.append(f"Read with the other films of the exam: {', '.join(exams)}.")
    return {
        "title": f"mammojax: tested on another set, {config['data']['name']}",
        "facts": {
            **_set(config),
            "Networks an arm": ", ".join(map(str, sorted(set(facts["networks"].values())))),
            "Channels standardised by": facts["statistics"],
        },
        "notes": notes,
        "findings": [calibration_drift(predictions, titles=table.titles, **options)],
    }


def _set(config: dict) -> dict[str, str]:
    data = config["data"]
    return {"Data set": data["name"], "Label scheme": data["labels"] or "the data set's default"}
