"""What was chosen inside the training folds, and the inner AUC that it was chosen by: the figure to choose arms by.

A held-out table shows what a choice is worth; made by that table, a choice is worth less than it shows.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mammojax.report.collect import Cell
from mammojax.report.findings import Finding
from mammojax.report.table import plain
from mammojax.runs import stages
from mammojax.runs.files import read_json

SELECTION = "selection.json"
NOTE = (
    "AUC of the classifier's own scores on the inner folds, mean and SD over the networks of all folds and repeats; no "
    "held-out film has part in it. Backbone, tap, scale or loss are to be chosen by this column, not by the table of held-out "
    "folds. What other views and the other breast's score add to an exam is not in it."
)


def chosen_inside(cells: Sequence[Cell], titles: Mapping[str, str]) -> Finding | None:
    """The mean inner AUC of every arm at what was chosen, and the range of that; None where no cell has chosen anything.

    Raises UserError where a cell's record of it is damaged.
    """
    found: dict[str, tuple[list[float], list[tuple[str, float]]]] = {}
    for arm, _, _, folder in cells:
        if not (folder / SELECTION).is_file():
            continue
        for network in read_json(stages.verified(folder, SELECTION)):
            aucs, choices = found.setdefault(arm, ([], []))
            for name, value in network["chosen"].items():
                aucs.append(_at(network["candidates"], value))
                choices.append((name, value))
    if not found:
        return None
    rows, values = [], {}
    for arm, (aucs, choices) in found.items():
        name, low, high = choices[0][0], min(v for _, v in choices), max(v for _, v in choices)
        known = [auc for auc in aucs if np.isfinite(auc)]  # an inner fold without both classes has none
        mean, spread = (float(np.mean(known)), float(np.std(known))) if known else (np.nan, np.nan)
        text = f"{name} {low:g}" + (f" to {high:g}" if high > low else "")
        rows.append((titles[arm], f"{mean:.3f}, SD {spread:.3f}" if known else "not defined", text))
        values[arm] = {"inner_auc": mean, "sd": spread, "networks": len(known), "chosen": [name, low, high]}
    return Finding(
        "Chosen inside the training folds", ("Arm", "Inner AUC", "Chosen"), tuple(rows), NOTE, plain(values)
    )


def _at(candidates: Mapping[str, float], value: float) -> float:
    """The candidate's AUC, NaN where there is none; names are numbers as JSON writes them ("10" and "10.0" are one)."""
    auc = next(auc for name, auc in candidates.items() if float(name) == value)
    return np.nan if auc is None else auc
