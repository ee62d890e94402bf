"""The results of a run directory, or of one of its external validations: its table's cells, gathered and written."""

from collections.abc import Callable
from pathlib import Path

from mammojax import __version__
from mammojax.datasets import accounts
from mammojax.errors import UserError
from mammojax.experiment.external import FACTS_FILE
from mammojax.experiment.held_out import Reading, film_maps, prepared_of, scores_cells
from mammojax.experiment.table import Table, read_table
from mammojax.report.acquisition import acquisition_of
from mammojax.report.collect import Cell, collect
from mammojax.report.external import calibration_drift
from mammojax.report.results import NOTES, write_results
from mammojax.report.where import films_of, needs_maps, panels
from mammojax.runs import stages
from mammojax.runs.files import read_json, read_sealed, sha256_of, write_sealed, writing
from mammojax.runs.locks import locked

FORM = 3  # raise when what is made of the same cells changes
RESULTS, REPORT = "results.json", "report.html"
WRITTEN = ("predictions.csv", "table.md", "table.json", "localisation.json", REPORT)
EXTERNAL_NOTES = (
    "No network was trained, chosen or calibrated here: every record was scored by all networks of an arm, those of every "
    "fold and repeat, and their calibrated log-odds were averaged.",
)


CONTROLS = {  # what a table of a control is, said above it
    "labels": "a control, not a study: labels were exchanged between patients, and honest folds show 0.5",
    "partner": "a control, not a study: the other breast is that of another woman",
    "images": "a control, not a study: folds were drawn image by image, and networks were tested on women they had seen",
}


def evaluate(
    directory: Path, *, command: str, say: Callable[[str], None] = lambda text: None
) -> tuple[str, Path]:
    """Writes predictions.csv, table.md, table.json, figures/ and report.html of a finished cross-validation, or of the
    directory that `external` gives; and localisation.json where the set has annotated lesions.

    Returns the table in Markdown and the report's path. command: what makes the run again. What the prepared set and the
    representations add (acquisition, maps) is left out, which is said, where they are not there any more. Raises UserError
    if cells are missing, damaged or of different recipes.
    """
    directory = Path(directory)
    table = read_table(directory)
    config = table.config
    cells = [
        (arm, entry.repeat, entry.fold, folder)
        for arm, entries in table.arms.items()
        for entry, folder in zip(entries, table.folders(arm))
    ]
    made_from = stages.key(
        cells={arm: [folder.name for name, _, _, folder in cells if name == arm] for arm in table.arms},
        arms=[list(table.arms), table.titles, table.colours, table.proposed],
        config=config,
        version=[__version__, FORM],
    )
    finished = _reused(directory, made_from)
    if finished is None:
        with locked(directory / RESULTS, what="the table of this run", say=say):
            finished = _reused(directory, made_from)  # another process may have made it meanwhile
            if finished is None:
                return _made(directory, table, config, cells, made_from, command=command, say=say)
    say("the results are reused: table, figures and report are those of these cells")
    return finished, directory / REPORT


def _made(
    directory: Path,
    table: Table,
    config: dict,
    cells: list[Cell],
    made_from: str,
    *,
    command: str,
    say: Callable,
) -> tuple[str, Path]:
    """The results, written; what `evaluate` returns."""
    for name in {*WRITTEN, *(read_sealed(directory / RESULTS) or {"files": ()})["files"]}:
        (directory / name).unlink(missing_ok=True)  # an earlier table's may have no successor
    external = (directory / FACTS_FILE).is_file()
    own = _of_external if external else _of_crossval
    text, report = write_results(
        directory,
        cells,
        titles=table.titles,
        colours=table.colours,
        proposed=table.proposed,
        seed=config["seed"],
        resamples=config["crossval"]["resamples"],
        command=command,
        config=config,
        ledger=_ledger(directory, config, cells),
        **own(directory, table, cells, config),
        **_of_films(directory, table, cells, config, external, say),
    )
    figures = [
        f"figures/{path.name}"
        for path in (directory / "figures").iterdir()
        if path.suffix in (".png", ".svg")
    ]
    written = [name for name in (*WRITTEN, *figures) if (directory / name).is_file()]
    digests = {name: sha256_of(directory / name) for name in written}
    write_sealed(directory / RESULTS, {"made_from": made_from, "files": digests})
    return text, report


def _reused(directory: Path, made_from: str) -> str | None:
    """The table of results that were made from the same cells and are as they were written; None if they are not."""
    held = read_sealed(directory / RESULTS)
    if held is None or held["made_from"] != made_from:
        return None
    for name, digest in held["files"].items():
        if not (directory / name).is_file() or sha256_of(directory / name) != digest:
            return None
    return (directory / "table.md").read_text(encoding="utf-8")


def _ledger(directory: Path, config: dict, cells: list[Cell]) -> list[accounts.Account]:
    """The accounts of the set that the cells were made from; those in the run directory where that set is gone."""
    root = directory.parents[1] if (directory / FACTS_FILE).is_file() else directory
    records = prepared_of(Path(config["data"]["prepared"] or root / "prepared"), cells[0][3])
    return accounts.read_accounts(directory if records is None else records.directory)


def _of_films(
    directory: Path, table: Table, cells: list[Cell], config: dict, external: bool, say: Callable
) -> dict:
    """What the films themselves add."""
    root = directory.parents[1] if external else directory  # the run directory
    prepared = Path(config["data"]["prepared"] or root / "prepared")
    records = prepared_of(prepared, cells[0][3])
    if records is None:
        say(f"acquisition and maps are left out: {prepared} does not hold the prepared set any more")
        return {}
    # no acquisition of another set: what it alone would tell has to be learnt there, and there are no folds
    found = {} if external else {"acquisition": acquisition_of(records)}
    facts = read_json(directory / FACTS_FILE) if external else {}
    of_cells = facts.get("scores_cells") or [arm for arm, _, _, folder in cells if scores_cells(folder)]
    if not of_cells or not needs_maps(records):
        return found
    if config["crossval"]["control"] == "partner":
        say("maps are left out: this control read every film beside another woman's")
        return found
    mapped = table.proposed if table.proposed in of_cells else of_cells[-1]
    of_arm = [folder for arm, repeat, _, folder in cells if arm == mapped and repeat == 0]
    if external:
        readings = [Reading(of_arm[0], tuple(root / "cells" / key for key in facts["models"][mapped]))]
    else:
        readings = [Reading(folder, (folder,)) for folder in of_arm]
    representations = Path(config["scan"]["representations"] or root / "representations")
    try:
        maps = film_maps(readings, records, representations)
        if maps is None:
            say(f"maps are left out: {representations} does not hold the representations any more")
        maps = list(maps or ())
    except UserError as error:
        say(f"maps are left out: {error}")
        maps = []
    if maps:
        pictures = panels(maps, records)
        for picture in pictures:
            with writing(directory / "figures" / "heat_maps.png") as file:
                file.write(picture.data)
        found |= {"films": films_of(maps, records), "mapped": mapped, "pictures": pictures}
    return found


def _of_crossval(directory: Path, table: Table, cells: list[Cell], config: dict) -> dict:
    data = config["data"]
    return {
        "title": f"mammojax: {data['name']}, {config['crossval']['folds']}-fold cross-validation",
        "warning": CONTROLS.get(config["crossval"]["control"], "")
        or (
            f"a table of several sets together, {', '.join(table.sets)}; read the results a set"
            if table.sets
            else ""
        ),
        "sets": table.sets,
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
    return {
        "Data set": ", ".join([data["name"], *(text.partition(":")[0] for text in data["also"])]),
        "Label scheme": data["labels"] or "the data set's default",
    }
