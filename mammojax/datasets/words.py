"""What tables call a side and a view, in the languages that data sets are written in."""

import re
import unicodedata

from mammojax.images.views import VIEWS, from_words

_SIDES = {
    "L": "left l lt links gauche izquierda izquierdo izq esquerda esquerdo sinistra sinistro sinister vanster venstre",
    "R": "right r rt rechts droite derecha derecho der direita direito destra destro dexter hoger hojre",
}
_SIDE_OF = {word: side for side, words in _SIDES.items() for word in words.split()}
_VIEW_OF = {
    "craniocaudal": "CC",
    "craneocaudal": "CC",
    "kraniokaudal": "CC",
    "mediolateraloblique": "MLO",
    "obliquemediolateral": "MLO",
    "oblique": "MLO",
    "oblicua": "MLO",
    "mediolateral": "ML",
    "lateromedial": "LM",
}


def side_of(text: str) -> str:
    """ "L" or "R" that a cell of a side's column names, "" if it names none or is not understood."""
    words = {_SIDE_OF[word] for word in re.split(r"\W+", _plain(text)) if word in _SIDE_OF}
    return words.pop() if len(words) == 1 else from_words(text)[0]


def view_of(text: str) -> str:
    """The view that a cell of a view's column names, one of `VIEWS`, "" if it names none or is not understood."""
    plain = "".join(filter(str.isalpha, _plain(text)))
    return plain.upper() if plain.upper() in VIEWS else _VIEW_OF.get(plain, "") or from_words(text)[1]


def _plain(text: str) -> str:
    """Lower case without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
