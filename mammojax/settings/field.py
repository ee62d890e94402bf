"""One field of the settings: its default, what it may be, and one sentence."""

import dataclasses


def field(
    default,
    sentence: str,
    *,
    choices: tuple = (),
    table: str = "",
    least=None,
    most=None,
    above=None,
    below=None,
    place: bool = False,
):
    """A settings field.

    choices: the values that are allowed; table: the name of the table whose keys are ("" is allowed where it is the
    default). least, most: the closed range of a number, or of every element of a tuple; above, below: the open one. place: a
    file or folder, in which ~ is the home folder.
    """
    facts = {
        "sentence": sentence,
        "choices": choices,
        "table": table,
        "least": least,
        "most": most,
        "above": above,
        "below": below,
        "place": place,
    }
    return dataclasses.field(default=default, metadata=facts)
