"""Laterality and view: codes, words, and whom to believe when a file contradicts itself.

View codes: DICOM PS3.16 CID 4014 and 4015 in SNOMED CT and in the older SRT form, which older files write
under SNM3.
"""

import re
import unicodedata
from collections.abc import Iterable

VIEW_CODES = {
    "399162004": "CC",
    "R-10242": "CC",
    "399368009": "MLO",
    "R-10226": "MLO",
    "399260004": "ML",
    "R-10224": "ML",
    "399352003": "LM",
    "R-10228": "LM",
    "399099002": "LMO",
    "R-10230": "LMO",
    "399196006": "FB",
    "R-10244": "FB",
    "399188001": "SIO",
    "R-102D0": "SIO",
    "441555000": "ISO",
    "399192008": "XCCL",
    "R-1024A": "XCCL",
    "399101009": "XCCM",
    "R-1024B": "XCCM",
    "127457009": "specimen",
    "G-8310": "specimen",
}
MODIFIER_CODES = {
    "399163009": "magnification",
    "R-102D6": "magnification",
    "399055006": "spot compression",
    "R-102D7": "spot compression",
    "399209000": "implant displaced",
    "R-102D5": "implant displaced",
    "399161006": "cleavage",
    "R-102D2": "cleavage",
    "399110001": "tangential",
    "R-102C2": "tangential",
}
CODE_SCHEMES = ("SCT", "SRT", "SNM3")

VIEWS = ("CC", "MLO", "ML", "LM", "LMO", "FB", "SIO", "ISO", "XCCL", "XCCM")
# sides as headers, tables and file names say them: English, Spanish, Portuguese, French, Italian, German and Dutch,
# Danish, Norwegian and Swedish, Polish, Czech and Russian, Chinese and Japanese; without accents, see `_words`
_LEFT = (
    "L LEFT LT IZQUIERDA IZQUIERDO IZQ IZDA IZDO ESQUERDA ESQUERDO GAUCHE SINISTRA SINISTRO LINKS LINKE LINKER "
    "VENSTRE VANSTER LEWA LEWY LEVA LEVY ЛЕВАЯ ЛЕВЫИ 左"
)
_RIGHT = (
    "R RIGHT RT DERECHA DERECHO DCHA DCHO DIREITA DIREITO DROITE DROIT DESTRA DESTRO RECHTS RECHTE RECHTER "
    "HOJRE HOYRE HOGER PRAWA PRAWY PRAVA PRAVY ПРАВАЯ ПРАВЫИ 右"
)
_SIDES = dict.fromkeys(_LEFT.split(), "L") | dict.fromkeys(_RIGHT.split(), "R")
# short forms that mean other things elsewhere (DX is a modality, DER and SIN are words): believed alone in a field
_SIDE_FIELDS = (
    _SIDES
    | dict.fromkeys(["I", "G", "S", "E", "SX", "SIN", "LI"], "L")
    | dict.fromkeys(["D", "DX", "DER", "RE"], "R")
)
# one word may hold both, and a number: LCC, RMLO2, LEFTCC
_BOTH = re.compile(
    f"({'|'.join(sorted(_SIDES, key=len, reverse=True))})({'|'.join(sorted(VIEWS, key=len, reverse=True))})\\d{{0,2}}"
)
_UNUSABLE = {
    "MAG": "magnification",
    "MAGNIFICATION": "magnification",
    "MAGNIFIED": "magnification",
    **dict.fromkeys(
        (
            "AMPLIACION",
            "AMPLIADA",
            "MAGNIFICACION",
            "AMPLIACAO",
            "MAGNIFICACAO",
            "AGRANDISSEMENT",
            "AGRANDI",
            "INGRANDIMENTO",
            "VERGROSSERUNG",
            "VERGROESSERUNG",
            "VERGROTING",
            "FORSTORRELSE",
            "FORSTORING",
        ),
        "magnification",
    ),
    "SPOT": "spot compression",
    "SPECIMEN": "specimen",
    "CROPPED": "crop of a lesion",
    "MASK": "lesion mask",
    "TOMO": "tomosynthesis",
    "TOMOSYNTHESIS": "tomosynthesis",
}


def _words(text: str) -> list[str]:
    """Upper case, without accents, parted by anything but letters and digits."""
    plain = unicodedata.normalize("NFKD", text.upper().replace("Ø", "O"))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return [w for w in re.split(r"[\W_]+", plain) if w]


def side_of(field: str) -> str:
    """ "L" or "R" by a header's or table's field of laterality, in any of the languages known; "" for all else."""
    words = _words(field)
    if len(words) == 1 and words[0] in _SIDE_FIELDS:
        return _SIDE_FIELDS[words[0]]
    return from_words(field)[0]


def from_words(text: str) -> tuple[str, str]:
    """(laterality, view) that the words of a description or file name tell, "" where they tell none or
    several.

    Words are parted by anything but letters and digits: "L-CC", "LEFT_MLO", "x_R_CC_y", "RMLO" are
    understood.
    """
    sides, views = set(), set()
    for word in _words(text):
        if word in VIEWS:  # before the pairs: LMO is a view, not L and MO
            views.add(word)
        elif word in _SIDES:
            sides.add(_SIDES[word])
        elif match := _BOTH.fullmatch(word):
            sides.add(_SIDES[match[1]])
            views.add(match[2])
    return (sides.pop() if len(sides) == 1 else ""), (views.pop() if len(views) == 1 else "")


def from_file_name(name: str) -> tuple[str, str]:
    """(laterality, view) that the last part of a path tells, "" where it tells none or several."""
    base = re.split(r"[/\\]", name)[-1]
    if base.count(".") and not base.startswith("."):
        base = base.rpartition(".")[0]
    laterality, view = from_words(base)
    if re.search(r"_MG_[LR]_ML_ANON(\.dcm)?$", base, re.IGNORECASE):  # INbreast's names say ML for MLO
        view = "MLO"
    return laterality, view


def from_patient_orientation(values: Iterable[str]) -> tuple[str, str]:
    """(laterality, view) by PatientOrientation (0020,0020), "" where it does not tell.

    Rows towards A: left breast, towards P: right (PS3.3 C.8.11.7); F in the column direction: MLO. Both
    hold only if nobody flipped the pixels. CBIS-DDSM writes the view itself there.
    """
    values = [str(v).strip().upper() for v in values]
    if len(values) == 1:
        return from_words(values[0])
    if len(values) != 2:
        return "", ""
    laterality = {"A": "L", "P": "R"}.get(values[0][:1], "")
    view = "MLO" if "F" in values[1] else "CC" if values[1] in ("L", "R") else ""
    return laterality, view


def unusable_kind(text: str) -> str:
    """What a description names that is no whole mammogram (magnification, spot compression, ...), or "".

    A plain view taken together with a tomosynthesis says 2D beside it.
    """
    words = _words(text)
    kinds = [
        _UNUSABLE[plain] for plain in (word.rstrip("0123456789") for word in words) if plain in _UNUSABLE
    ]
    return next((kind for kind in kinds if kind != "tomosynthesis" or "2D" not in words), "")


def believed(what: str, claims: Iterable[tuple[str, str]]) -> tuple[str, str, list[str]]:
    """(value, source, warnings): the first claim that says something, and one warning for each that
    contradicts it.

    what: "laterality" or "view", for the warnings. claims: (source, value) in order of trust; value "" says
    nothing.
    """
    told = [(source, value) for source, value in claims if value]
    if not told:
        return "", "", []
    source, value = told[0]
    warnings = [
        f"{what}: {source} says {value}, {other} says {second}; {value} is believed"
        for other, second in told[1:]
        if second != value
    ]
    return value, source, warnings
