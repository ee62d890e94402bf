"""Classifiers: what turns a map into a score, one file each. A new one is a file here and a line in `CLASSIFIERS`.

A file holds `build(shape, options, *, rngs) -> nnx.Module`. shape: (rows, columns, channels) of a map; rows and columns
are None where maps come in all sizes. `SPATIAL` says whether it reads where cells lie. options: its section of the settings. The module is called
`model(maps, where, progress)`:

- maps: float32[b, rows, columns, c]. where: bool[b, rows, columns], True on cells of tissue; None: all cells are.
- progress: float32[], the share of the training that is done; 1 where it is evaluated.
- It gives float32[b]: scores (logits).

`set_normalisation(mean, deviation)` sets how channels are standardised; `cell_scores(maps, where)` gives what each cell
contributes, float32[b, rows, columns], for heat maps, and a UserError where a classifier has no such thing.
"""

import importlib

from mammojax.errors import UserError

CLASSIFIERS = {
    "paper": "mammojax.models.classifiers.paper",
    "mil": "mammojax.models.classifiers.mil",
    "pooled": "mammojax.models.classifiers.pooled",
}


def classifier_module(name: str):
    """The module of this classifier; UserError for an unknown one."""
    if name not in CLASSIFIERS:
        raise UserError(f"unknown classifier {name!r}; known are {', '.join(CLASSIFIERS)}")
    return importlib.import_module(CLASSIFIERS[name])
