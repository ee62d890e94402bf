"""Further sets that are trained together with the first: written `NAME` or `NAME:source=FOLDER,labels=SCHEME`."""

import dataclasses

from mammojax.errors import UserError
from mammojax.settings.check import nearest, parsed, split_outside
from mammojax.settings.leaves import leaves
from mammojax.settings.tree import Data, Settings

OWN = ("source", "labels", "split", "depth")  # what a set may have for itself


def further_sets(settings: Settings) -> tuple[Settings, ...]:
    """The settings of each set of config.data.also: those of the run with that set in place of the first.

    Raises UserError for a field that is unknown or one for all sets, and for a value that it does not take.
    """
    return tuple(_of(settings, text) for text in settings.data.also)


def _of(settings: Settings, text: str) -> Settings:
    name, colon, rest = text.partition(":")
    values: dict = {"name": parsed(leaves()["data.name"], name.strip())}
    try:
        for part in split_outside(rest) if colon else ():
            field, equals, value = (piece.strip() for piece in part.partition("="))
            field = field.removeprefix("data.")
            if not equals or field not in OWN:
                raise UserError(
                    f"{part!r} is no FIELD=VALUE with a field of {', '.join(OWN)}{nearest(field, OWN) if equals else ''}"
                )
            values[field] = parsed(leaves()[f"data.{field}"], value)
    except UserError as error:
        raise UserError(f"config.data.also holds {text!r}: {error}") from None
    own = {"source": "", "labels": "", "split": ""} | values
    data: Data = dataclasses.replace(settings.data, also=(), **own)
    return dataclasses.replace(settings, data=data)
