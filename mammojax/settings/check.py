"""The check of one value against its field: type, choices, range; and the reading of a value that was typed as text."""

import ast
import contextlib
import difflib
import math
import numbers
import os
import re
from collections.abc import Iterable
from typing import Any, get_args, get_origin

from mammojax.errors import UserError
from mammojax.settings.leaves import Leaf, leaves

NOUNS = {int: "whole number", float: "number", str: "text"}
TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def element(leaf: Leaf) -> type:
    """The type of a field's value, or of an element of its tuple."""
    return get_args(leaf.kind)[0] if get_origin(leaf.kind) is tuple else leaf.kind


def is_tuple(leaf: Leaf) -> bool:
    return get_origin(leaf.kind) is tuple


def span(leaf: Leaf) -> str:
    """The allowed range in words, such as `from 1 to 256`; "" if there is none."""
    least, most, above, below = (leaf.facts.get(name) for name in ("least", "most", "above", "below"))
    least, most, above, below = (
        x if x is None or isinstance(x, int) else f"{x:g}" for x in (least, most, above, below)
    )
    if least is not None and most is not None:
        return f"from {least} to {most}"
    words = (("above", above), ("at least", least), ("below", below), ("at most", most))
    return " and ".join(f"{word} {value}" for word, value in words if value is not None)


def expected(leaf: Leaf) -> str:
    """What a field takes, in words: `a whole number from 1 to 256`."""
    kind = element(leaf)
    if kind is bool:
        return "true or false"
    if leaf.facts.get("choices") and not is_tuple(leaf):
        return f"one of {', '.join(leaf.facts['choices'])}"
    noun = NOUNS[kind]
    if not is_tuple(leaf):
        article = "" if kind is str else "a "
        return " ".join(part for part in (article + noun, span(leaf)) if part)
    if leaf.facts.get("choices"):
        return f"some of {', '.join(leaf.facts['choices'])}"
    what = " ".join(part for part in (f"{noun}s", span(leaf)) if part)
    return f"a tuple of {what}, such as {leaf.default!r}"


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean WORD?`, or "" if none is near."""
    near = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""


def unknown_field(path: str) -> UserError:
    """The error for a field that is not in the tree; names the nearest, or the fields of its section."""
    known = list(leaves())
    last = path.rpartition(".")[2]
    same = [name for name in known if name.rpartition(".")[2] == last]  # right name, wrong section
    sections = {name[:place] for name in known for place, letter in enumerate(name) if letter == "."}
    near = same if len(same) == 1 else difflib.get_close_matches(path, [*known, *sorted(sections)], 1, 0.6)
    inside = [name for name in known if name.startswith(f"{path}.")]
    if inside:
        return UserError(f"config.{path} is a section; give one of its fields, such as config.{inside[0]}")
    hint = f"did you mean config.{near[0]}?" if near else "--help shows every field"
    return UserError(f"config.{path} is no field; {hint}")


def wrong(leaf: Leaf, value: Any, *, hint: str = "") -> UserError:
    """The error for a value that a field does not take."""
    shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:80] + " ..."
    return UserError(f"config.{leaf.path} is {shown}; expected {expected(leaf)}{hint}")


def checked(leaf: Leaf, value: Any) -> Any:
    """The value in the field's type: whole numbers become floats where the field is one, lists become tuples.

    Raises UserError for another type (true is no number), nan and infinity, a value out of range or of the choices, an
    empty tuple where the default is none, and text with control characters. ~ becomes the home folder in places.
    """
    if not is_tuple(leaf):
        return _scalar(leaf, value, value)
    if not isinstance(value, (tuple, list)) or (not value and leaf.default):
        raise wrong(leaf, value)
    return tuple(_scalar(leaf, item, value) for item in value)


def _scalar(leaf: Leaf, value: Any, whole: Any) -> Any:
    """One value, or one element of the tuple `whole`."""
    kind, facts = element(leaf), leaf.facts
    if kind is bool or isinstance(value, bool):
        if kind is not bool or not isinstance(value, bool):
            raise wrong(leaf, whole)
        return value
    if kind is str:
        if not isinstance(value, str) or any(ord(character) < 32 for character in value):
            raise wrong(leaf, whole)
        if facts.get("choices") and value not in facts["choices"]:
            raise wrong(leaf, whole, hint=nearest(value, facts["choices"]))
        # a shell leaves the ~ of --config.run=~/runs alone, and a folder of that name is not meant
        return os.path.expanduser(value) if facts.get("place") else value
    if not isinstance(value, numbers.Integral if kind is int else numbers.Real):
        raise wrong(leaf, whole)
    try:
        number = kind(value)
        finite = math.isfinite(number)
    except OverflowError:
        raise wrong(leaf, whole) from None
    bad = (
        not finite
        or (facts["least"] is not None and number < facts["least"])
        or (facts["most"] is not None and number > facts["most"])
        or (facts["above"] is not None and number <= facts["above"])
        or (facts["below"] is not None and number >= facts["below"])
    )
    if bad:
        raise wrong(leaf, whole)
    return number


def parsed(leaf: Leaf, text: str) -> Any:
    """The checked value of a field from text, as it is typed on a command line: 40, true, bce,auc or ('bce','auc')."""
    if not is_tuple(leaf):
        return checked(leaf, _from_text(leaf, text, text))
    return checked(leaf, tuple(_from_text(leaf, item, text) for item in elements(text)))


def _from_text(leaf: Leaf, text: str, whole: str) -> Any:
    kind = element(leaf)
    if kind is bool:
        if text.strip().lower() not in TRUTHS:
            raise wrong(leaf, whole)
        return TRUTHS[text.strip().lower()]
    try:
        return kind(text)
    except ValueError:
        raise wrong(leaf, whole) from None


def elements(text: str) -> list[str]:
    """The elements of a tuple in text, with or without its brackets and quotation marks.

    An element `field=value` goes on with the one before it: a,b:c=1,d=2 is (a, "b:c=1,d=2").
    """
    text = text.strip()
    with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        value = ast.literal_eval(text)
        if isinstance(value, (tuple, list)):
            return [str(item) for item in value]
    if text[:1] + text[-1:] in ("()", "[]"):
        text = text[1:-1]
    found: list[str] = []
    for item in split_outside(text):
        if found and re.match(r"[a-z_.0-9]+=", item) and ":" in found[-1]:
            found[-1] += f",{item}"
        else:
            found.append(item)
    return [unquoted(item) for item in found if item]


def split_outside(text: str) -> list[str]:
    """Text split at the commas that are in no brackets and no quotation marks; blanks around the parts are dropped."""
    parts, depth, quote, start = [], 0, "", 0
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
        elif character == "," and depth <= 0:
            parts.append(text[start:place].strip())
            start = place + 1
    return [*parts, text[start:].strip()]


def unquoted(text: str) -> str:
    """Text without the quotation marks around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
