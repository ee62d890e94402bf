"""Named label schemes: from what a data set says of an image to 1, 0, or a reason to leave it out."""

from collections.abc import Callable
from dataclasses import dataclass

from mammojax.errors import UserError


@dataclass(frozen=True)
class Facts:
    """What a data set says of one image, in its own terms; None where it says nothing.

    birads: assessment as written, such as "4a" or "2". malignant: proven by biopsy. abnormal: any finding.
    label: a ready-made label, 1 or 0.
    """

    birads: str | None = None
    malignant: bool | None = None
    abnormal: bool | None = None
    label: int | None = None


@dataclass(frozen=True)
class Dropped:
    """An image that the scheme leaves out, and why."""

    reason: str


def _birads(facts: Facts) -> int | Dropped:
    text = (facts.birads or "").strip().lower()
    text = text.removeprefix("bi-rads").strip()
    if text[:1] in ("1", "2", "3", "4", "5", "6") and text[1:] in ("", ".0", "a", "b", "c"):
        return int(text[0])
    if text[:1] == "0":
        return Dropped("BI-RADS 0 (incomplete)")
    return Dropped("no BI-RADS" if not text else "BI-RADS not understood")


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
        return Dropped(f"no value for {field}") if value is None else int(value)

    return scheme


SCHEMES: dict[str, Callable[[Facts], int | Dropped]] = {
    "birads_4_vs_2": _birads_4_vs_2,  # the paper: BI-RADS >= 4 positive, <= 2 negative, 3 dropped
    "birads_4_vs_3": _birads_4_vs_3,  # 3 counts as negative
    "malignant": _from("malignant"),  # proven malignant against everything else
    "abnormal": _from("abnormal"),  # any finding against normal (Hwang and Kim 2016)
    "label": _from("label"),  # a ready-made label
}


def label(facts: Facts, scheme: str, offered: tuple[str, ...]) -> int | Dropped:
    """1, 0 or Dropped by the named scheme; UserError if the data set does not offer it."""
    if scheme not in offered:
        raise UserError(
            f"label scheme {scheme!r} is not offered by this data set; choose one of {', '.join(offered)}"
        )
    return SCHEMES[scheme](facts)
