"""From finished cells to the predictions of every arm. A table is made of cells of one recipe; a mix is refused."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mammojax.errors import UserError
from mammojax.evaluation.predictions import Predictions
from mammojax.experiment.predictions import gather, training_curve
from mammojax.runs import stages
from mammojax.training.metrics import read_metrics

Cell = tuple[str, int, int, Path]  # arm, repeat, fold, folder
_ABSENT = "absent"


def collect(cells: Sequence[Cell], *, path: Path) -> dict[str, Predictions]:
    """The out-of-fold predictions by arm, arms in the order of their first cell; also writes all rows to `path` (CSV).

    Each cell's stage.json holds `recipe`, the settings that must agree between the cells of an arm, and `made_from`, the keys
    of what it read, which must agree too. Arms may differ in both, and must hold the same records, folds and labels.
    Raises UserError for cells that are not finished, missing, given twice or made by other settings; it names them and the
    fields that differ.
    """
    arms = list(dict.fromkeys(arm for arm, _, _, _ in cells))
    _check_complete(cells, arms)
    for arm in arms:
        _check_recipe([cell for cell in cells if cell[0] == arm])
    rows = gather(path, [(arm, folder) for arm, _, _, folder in cells])
    predictions = {arm: _predictions(rows[arm]) for arm in arms}
    first = predictions[arms[0]]
    for arm in arms[1:]:
        for name in ("records", "patients", "breasts", "labels", "folds"):
            if not np.array_equal(getattr(first, name), getattr(predictions[arm], name)):
                raise UserError(
                    f"arms {arms[0]} and {arm} hold different {name}; a table compares arms on the same ones, "
                    f"train both again on one prepared set"
                )
    return predictions


def training_curves(cells: Sequence[Cell]) -> tuple[dict[str, dict], dict[str, dict]]:
    """(arm -> (repeat, fold) -> (steps, held-out AUC), arm -> (repeat, fold) -> the step that was chosen) of the arms that
    have a curve: the paper's Figure 3.

    A cell of several networks shows the first one's.
    """
    curves: dict[str, dict] = {}
    selected: dict[str, dict] = {}
    for arm, repeat, fold, folder in cells:
        curve = training_curve(folder)
        if curve is None:
            continue
        curves.setdefault(arm, {})[repeat, fold] = curve
        epoch = ((stages.finished(folder) or {}).get("chosen") or [{}])[0].get("epoch")
        steps = [
            line["step"] for line in read_metrics(Path(folder) / "metrics.jsonl") if line["epoch"] == epoch
        ]
        if steps:
            selected.setdefault(arm, {})[repeat, fold] = steps[-1]
    return curves, selected


def _check_complete(cells: Sequence[Cell], arms: Sequence[str]) -> None:
    if not cells:
        raise UserError("there are no cells, expected at least one arm and fold; run launch.crossval")
    names = [_name(cell) for cell in cells]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(
            f"{_some(twice)} is given more than once, expected one cell each; name every arm once"
        )
    places = dict.fromkeys((repeat, fold) for _, repeat, fold, _ in cells)
    wanted = [(arm, *place, None) for arm in arms for place in places]
    missing = [_name(cell) for cell in wanted if _name(cell) not in set(names)]
    missing += [_name(cell) for cell in cells if stages.finished(cell[3]) is None]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(wanted)} cells are not finished ({_some(missing)}); "
            f"run launch.crossval with the same settings, which makes them"
        )


def _check_recipe(cells: Sequence[Cell]) -> None:
    """Raises UserError if the cells of one arm were made by different settings."""
    first = _recipe(cells[0])
    for cell in cells[1:]:
        other = _recipe(cell)
        differ = [
            f"{name} ({first.get(name, _ABSENT)!r} and {other.get(name, _ABSENT)!r})"
            for name in sorted({*first, *other})
            if first.get(name, _ABSENT) != other.get(name, _ABSENT)
        ]
        if differ:
            raise UserError(
                f"{_name(cells[0])} and {_name(cell)} were made by different settings: {_some(differ)}; "
                f"a table holds cells of one recipe, run launch.crossval with the settings that you want"
            )


def _recipe(cell: Cell) -> dict[str, object]:
    """Name -> value of everything that the cells of an arm must share, flat."""
    facts = stages.finished(cell[3])
    if "recipe" not in facts:
        raise UserError(
            f"{_name(cell)} in {cell[3]} does not say by what it was made (no recipe); train it again"
        )
    return {**dict(_flat(facts["recipe"])), **dict(_flat(facts.get("made_from", {}), "made_from."))}


def _flat(value: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner


def _predictions(rows: Sequence[Mapping[str, str]]) -> Predictions:
    def column(name: str, kind=str) -> np.ndarray:
        return np.asarray([kind(row[name]) for row in rows])

    return Predictions(
        records=column("record", int),
        patients=column("patient"),
        breasts=column("breast"),
        folds=column("fold", int),
        labels=column("label", int),
        scores=column("score", float),
        calibrated=column("log_odds", float),
        repeats=column("repeat", int),
    )


def _name(cell: Cell) -> str:
    arm, repeat, fold, _ = cell
    return f"{arm} repeat {repeat} fold {fold}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
