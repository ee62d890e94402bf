"""What a data set says of itself: one class a data set, one file each in `builders/`.

A subclass says what lies where (`find`), which label schemes its labels allow (`SCHEMES`, the first is the default), the
parts of an official split (`SPLITS`), how a user obtains it (`HOW`), by which names of files its folder is told from
others (`SIGN`, a regular expression), and whether its terms let films be shown in reports that are passed on
(`MAY_BE_SHOWN`). `prepare` makes a TFDS data set of it.
"""

from pathlib import Path

from mammojax.datasets.record import Source


class MammogramBuilder:
    """A data set; never made into an object."""

    SCHEMES: tuple[str, ...] = ()
    SPLITS: tuple[str, ...] = ()
    HOW = ""
    SIGN = ""
    MAY_BE_SHOWN = False

    @staticmethod
    def find(source: Path, workspace: Path, **options) -> list[Source]:
        """What the data set says of every image file under `source`: one `Source` a row of its table, in any order, and
        one without facts for each picture that the table does not list.

        workspace: a folder for unpacked archives. options: the data set's own, beside workers, track and say, which
        are those of `prepare`. Raises UserError when the folder is not of this data set.
        """
        raise NotImplementedError
