"""Named label schemes: from what a data set says of an image to 1, 0, or a reason to leave it out."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mammojax.errors import UserError


@dataclass(frozen=True)
class Facts:
    """What a data set says of one image, in its own terms; None where it says nothing.

    birads: assessment as written, such as "4a" or "2". malignant: proven by biopsy. abnormal: any finding.
    label: a ready-made label, 1 or 0. word: what the table says in one word, for reasons; see `facts_of`.
    """

    birads: str | None = None
    malignant: bool | None = None
    abnormal: bool | None = None
    label: int | None = None
    word: str = ""


@dataclass(frozen=True)
class Dropped:
    """An image that the scheme leaves out, and why."""

    reason: str


_MALIGNANT = {"malignant": True, "abnormal": True, "label": 1}
_BENIGN = {"malignant": False, "abnormal": True, "label": 0}  # a finding, but no cancer
_NORMAL = {"malignant": False, "abnormal": False, "label": 0}
_ABNORMAL = {"malignant": None, "abnormal": True, "label": 1}  # a finding of which more is not said

UNLABELLED = "unlabelled breast"  # the word for what a table does not list, though its patient is

WORDS: dict[
    str, dict
] = {  # what a word of a label column means under each scheme; see `_plain` for spellings
    **dict.fromkeys(("malignant", "m", "cancer", "carcinoma", "maligno", "maligna", "maligne"), _MALIGNANT),
    **dict.fromkeys(("benign", "b", "benign without callback", "benigno", "benigna"), _BENIGN),
    **dict.fromkeys(("normal", "norm", "n", "healthy", "no finding", "no findings"), _NORMAL),
    **dict.fromkeys(("abnormal", "suspicious", "finding"), _ABNORMAL),
    UNLABELLED: {"malignant": None, "abnormal": None, "label": None},  # see the builder of CMMD
    # ready-made labels: whoever wrote them says of what
    **dict.fromkeys(("1", "true", "t", "yes", "y", "positive", "pos"), _MALIGNANT),
    **dict.fromkeys(("0", "false", "f", "no", "negative", "neg"), _NORMAL),
}


def facts_of(word: str, birads: str = "") -> Facts:
    """What a table says with the word of its label column and its assessment; "" for a cell that says nothing."""
    return Facts(birads=birads or None, word=word, **WORDS.get(_plain(word), {}))


def _plain(word: str) -> str:
    """`BENIGN_WITHOUT_CALLBACK` as "benign without callback", `1.00` as "1"; a sign stays one."""
    plain = word.strip().casefold()
    if re.fullmatch(r"[01]([.,]0*)?", plain):
        return plain[0]
    return " ".join(re.split(r"(?:\s|_|(?<=\w)-(?=\w))+", plain)).strip()


def numbered_classes(listed: Sequence[Facts]) -> str:
    """What to say where a label column counts classes, such as 0, 1 and 2: only 0 and 1 are labels. "" where it does not."""
    words = [_plain(facts.word) for facts in listed]
    others = [word for word in words if re.fullmatch(r"\d{1,3}([.,]0*)?", word) and word not in ("0", "1")]
    if not others or not {"0", "1"} & set(words):
        return ""
    return (
        f"the column of labels has other numbers than 0 and 1 for {len(others)} pictures, which are dropped, while 1 counts as "
        "positive: if its numbers are classes, write words such as normal, benign and malignant"
    )


def worst(listed: Sequence[Facts]) -> Facts:
    """The facts of an image that stands in several rows: the worst that any of them says.

    Rows that say nothing do not count. What is not understood in one row could be anything, so that only the worst
    value itself outweighs it.
    """
    if len(listed) == 1:
        return listed[0]
    telling = [f for f in listed if f.word or (f.malignant, f.abnormal, f.label) != (None, None, None)]
    merged = {
        field: _worst_value([getattr(f, field) for f in telling])
        for field in ("malignant", "abnormal", "label")
    }
    words = sorted({f.word for f in telling}, key=lambda word: (_plain(word) in WORDS, word))
    graded = sorted({f.birads for f in listed if f.birads}, key=lambda text: (_grade(text) or 0, text))
    unknown = [text for text in graded if _grade(text) is None]
    birads = (unknown[0] if unknown and (_grade(graded[-1]) or 0) < 4 else graded[-1]) if graded else None
    return Facts(birads=birads, word=words[0] if words else "", **merged)


def _worst_value(values: list):
    known = [value for value in values if value is not None]
    return max(known) if any(known) or (known and len(known) == len(values)) else None


_GRADE = re.compile(
    r"(?:bi-?\s?rads[\s:_-]*)?(?:(?:category|cat\.?)\s*)?([0-6])(?:[.,]0*)?\s*([abc])?", re.IGNORECASE
)


def _grade(text: str) -> int | None:
    match = _GRADE.fullmatch(text.strip())
    if not match or (match[2] and match[1] != "4"):
        return None
    return int(match[1])


def _shown(word: str) -> str:
    """A word of a table, short and printable."""
    return repr(word if len(word) <= 40 else word[:37] + "...")


def _birads(facts: Facts) -> int | Dropped:
    if not facts.birads or not facts.birads.strip():
        return Dropped("no BI-RADS")
    grade = _grade(facts.birads)
    if grade is None:
        return Dropped(f"BI-RADS {_shown(facts.birads)} is not understood")
    return Dropped("BI-RADS 0 (incomplete)") if grade == 0 else grade


def _birads_4_vs_2(facts: Facts) -> int | Dropped:
    grade = _birads(facts)
    if isinstance(grade, Dropped):
        return grade
    return Dropped("BI-RADS 3") if grade == 3 else int(grade >= 4)


def _birads_4_vs_3(facts: Facts) -> int | Dropped:
    grade = _birads(facts)
    return grade if isinstance(grade, Dropped) else int(grade >= 4)


def _from(field: str) -> Callable[[Facts], int | Dropped]:
    def scheme(facts: Facts) -> int | Dropped:
        value = getattr(facts, field)
        if value is not None:
            return int(value)
        if not facts.word:
            return Dropped(f"no value for {field}")
        if _plain(facts.word) in WORDS:
            return Dropped(f"{_shown(facts.word)} does not tell whether it is {field}")
        hint = " (a BI-RADS grade?)" if _grade(facts.word) is not None else ""
        return Dropped(f"{_shown(facts.word)} is not understood as a label{hint}")

    return scheme


def _unlabelled_negative(facts: Facts) -> int | Dropped:
    return 0 if _plain(facts.word) == UNLABELLED else _from("malignant")(facts)


SCHEMES: dict[str, Callable[[Facts], int | Dropped]] = {
    "birads_4_vs_2": _birads_4_vs_2,  # the paper: BI-RADS >= 4 positive, <= 2 negative, 3 dropped
    "birads_4_vs_3": _birads_4_vs_3,  # 3 counts as negative
    "malignant": _from("malignant"),  # proven malignant against everything else
    "abnormal": _from("abnormal"),  # any finding against normal (Hwang and Kim 2016)
    # what the data set does not label counts as negative, as some published code has it; never the default
    "unlabelled_negative": _unlabelled_negative,
    "label": _from("label"),  # a ready-made label
}


def label(facts: Facts, scheme: str) -> int | Dropped:
    """1, 0 or Dropped by the named scheme of `SCHEMES`."""
    return SCHEMES[scheme](facts)


def chosen_scheme(asked: str, offered: tuple[str, ...]) -> str:
    """The scheme that is asked for, "" for the data set's default, the first one; UserError if it is not offered."""
    if asked and asked not in offered:
        raise UserError(
            f"label scheme {asked!r} is not offered by this data set; choose one of {', '.join(offered)}"
        )
    return asked or offered[0]
