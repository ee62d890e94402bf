"""What the results of a run are made of: its cells, its films as far as they are there, its accounts."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from mammojax.datasets import accounts
from mammojax.errors import UserError
from mammojax.experiment.external import FACTS_FILE
from mammojax.experiment.held_out import Reading, film_maps, prepared_of, scores_cells
from mammojax.experiment.table import Table
from mammojax.report.acquisition import acquisition_of
from mammojax.report.collect import Cell, collect
from mammojax.report.external import calibration_drift
from mammojax.report.results import NOTES, write_results
from mammojax.report.where import films_of, needs_maps, panels
from mammojax.runs.files import read_json, writing
from mammojax.settings import from_mapping, further_sets

EXTERNAL_NOTES = (
    "No network was trained, chosen or calibrated here: every record was scored by all networks of an arm, those of every "
    "fold and repeat, and their calibrated log-odds were averaged.",
)
CONTROLS = {  # what a table of a control is, said above it
    "labels": "a control, not a study: labels were exchanged between patients, and honest folds show 0.5",
    "partner": "a control, not a study: the other breast is that of another woman",
    "images": "a control, not a study: folds were drawn image by image, and networks were tested on women they had seen",
}


NO_MAPS = {  # controls whose maps would not be what is said of maps
    "partner": "this control read every film beside another woman's",
    "images": "the networks of this control were trained on other films of the same women",
}


def written(
    directory: Path, table: Table, config: dict, cells: list[Cell], *, command: str, say: Callable
) -> tuple[str, Path]:
    """Writes the results of these cells; the table in Markdown and the report's path. See `run.evaluate`."""
    external = (directory / FACTS_FILE).is_file()
    own = _of_external if external else _of_crossval
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
        ledger=_ledger(directory, config, cells),
        **own(directory, table, cells, config),
        **_of_films(directory, table, cells, config, external, say),
    )


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
    if not external and (why := NO_MAPS.get(config["crossval"]["control"])):
        say(f"maps are left out: {why}")
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
        "title": f"mammojax: {' and '.join(table.sets) or data['name']}, {config['crossval']['folds']}-fold cross-validation",
        "warning": "; and ".join(_warnings(table, config["crossval"]["control"])),
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
        "warning": CONTROLS.get(facts.get("control"), ""),
        "facts": {
            **_set(config),
            "Networks an arm": ", ".join(map(str, sorted(set(facts["networks"].values())))),
            "Channels standardised by": facts["statistics"],
        },
        "notes": notes,
        "findings": [calibration_drift(predictions, titles=table.titles, **options)],
    }


def _warnings(table: Table, control: str) -> Iterator[str]:
    """What a reader of the table must know before anything else."""
    if control in CONTROLS:
        yield CONTROLS[control]
    if table.sets:
        yield f"a table of several sets together, {', '.join(table.sets)}: read the results a set"


def _set(config: dict) -> dict[str, str]:
    data = config["data"]
    every = [data, *(asdict(one.data) for one in further_sets(from_mapping(config)))]
    return {
        "Data set": ", ".join(one["name"] for one in every),
        "Label scheme": ", ".join(one["labels"] or "the data set's default" for one in every),
    }
