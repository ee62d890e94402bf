"""The index of a table: which cells it is made of, by arm; what a run directory's results are read from.

Cells lie under their keys, those of other settings beside them. The index names the cells of one table.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from mammojax.errors import UserError
from mammojax.runs import stages
from mammojax.runs.files import read_json, write_json

INDEX = "cells.json"


@dataclass(frozen=True)
class Entry:
    """One cell: repeat, fold and the name of its folder."""

    repeat: int
    fold: int
    key: str


@dataclass(frozen=True, eq=False)
class Table:
    """arms: {name: its cells}, in the order of the table; titles and colours: {name: text}. proposed: an arm. config: the
    settings that made it; config.json may be a later start's. sets: of several that were trained together {name: numbers of
    its records}, else empty."""

    directory: Path
    arms: dict[str, list[Entry]]
    titles: dict[str, str]
    colours: dict[str, str]
    proposed: str
    config: dict
    sets: dict[str, list[int]] = field(default_factory=dict)

    def folders(self, arm: str) -> list[Path]:
        """The folders of an arm's cells. UserError for an arm that is not in the table."""
        if arm not in self.arms:
            raise UserError(f"{self.directory} has no arm {arm!r}; its table has {', '.join(self.arms)}")
        return [self.directory / "cells" / entry.key for entry in self.arms[arm]]


def write_table(table: Table) -> None:
    """Writes the index, whole or not at all."""
    value = {name: getattr(table, name) for name in ("titles", "colours", "proposed", "config")}
    value["sets"] = [[name, numbers] for name, numbers in table.sets.items()]
    value["arms"] = [[arm, [asdict(entry) for entry in cells]] for arm, cells in table.arms.items()]
    write_json(table.directory / INDEX, value)


def read_table(directory: Path) -> Table:
    """The index of a run directory. UserError if there is none, or a cell of it is missing."""
    directory = Path(directory)
    if not (directory / INDEX).is_file():
        raise UserError(
            f"{directory} holds no finished cross-validation; run launch.crossval with --config.run={directory}"
        )
    value = read_json(directory / INDEX)
    try:
        arms = {arm: [Entry(**entry) for entry in cells] for arm, cells in value["arms"]}
        facts = (value[name] for name in ("titles", "colours", "proposed", "config"))
        table = Table(directory, arms, *facts, dict(value["sets"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{directory / INDEX} is damaged; run launch.crossval again") from error
    for arm in table.arms:
        folders = table.folders(arm)
        missing = [folder.name for folder in folders if stages.finished(folder) is None]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(folders)} cells of {arm} are not finished ({', '.join(missing[:4])}); run "
                f"launch.crossval again"
            )
    return table
