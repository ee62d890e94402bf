"""The results of a run directory, or of one of its external validations: made of its cells, or used again."""

from collections.abc import Callable
from pathlib import Path

from mammojax import __version__
from mammojax.experiment.table import Table, read_table
from mammojax.report.collect import Cell
from mammojax.runs import stages
from mammojax.runs.files import read_sealed, sha256_of, write_sealed
from mammojax.runs.locks import locked

FORM = 3  # raise when what is made of the same cells changes
RESULTS, REPORT = "results.json", "report.html"
WRITTEN = ("predictions.csv", "table.md", "table.json", "localisation.json", REPORT)


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
    # matplotlib and scikit-learn take seconds that a reused table has not
    from mammojax.report.gathered import written

    for name in {*WRITTEN, *(read_sealed(directory / RESULTS) or {"files": ()})["files"]}:
        (directory / name).unlink(missing_ok=True)  # an earlier table's may have no successor
    text, report = written(directory, table, config, cells, command=command, say=say)
    figures = [
        f"figures/{path.name}"
        for path in (directory / "figures").iterdir()
        if path.suffix in (".png", ".svg")
    ]
    files = [name for name in (*WRITTEN, *figures) if (directory / name).is_file()]
    digests = {name: sha256_of(directory / name) for name in files}
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
