"""The TFDS builder that all data sets share: it packs prepared crops into array_record files.

A data set is one file in `builders/`: a subclass that says what lies where (`find`), which label schemes its labels
allow (`SCHEMES`, the first is the default), the parts of an official split (`SPLITS`), how a user obtains it (`HOW`), by
which names of files its folder is told from others (`SIGN`, a regular expression), and whether its terms let films be
shown in reports that are passed on (`MAY_BE_SHOWN`).
"""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from mammojax.datasets.record import Source
from mammojax.datasets.schema import features

SPLIT = "images"  # TFDS reserves the name "all"


class MammogramBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Packs (key, example) pairs; normally called by `mammojax.datasets.prepare.prepare`.

    data_dir: where the data set is written. examples: a function that yields (key, example) in any order; only needed
    to build, not to read.
    """

    VERSION = tfds.core.Version("1.0.0")
    SCHEMES: tuple[str, ...] = ()
    SPLITS: tuple[str, ...] = ()
    HOW = ""
    SIGN = ""
    MAY_BE_SHOWN = False

    def __init__(self, *, data_dir: Path, examples: Callable[[], Iterator[tuple[str, dict]]] | None = None):
        self._examples = examples
        super().__init__(data_dir=str(data_dir), file_format="array_record")

    @staticmethod
    def find(source: Path, workspace: Path, **options) -> list[Source]:
        """What the data set says of every image file under `source`: one `Source` a row of its table, in any order, and
        one without facts for each picture that the table does not list.

        workspace: a folder for unpacked archives. options: the data set's own, beside workers, track and say, which
        are those of `prepare`. Raises UserError when the folder is not of this data set.
        """
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self, description=type(self).__doc__, features=features(), disable_shuffling=True
        )  # unshuffled: record i on disk is entry i of the index

    def _split_generators(self, dl_manager) -> dict:
        return {SPLIT: self._generate_examples()}

    def _generate_examples(self):
        yield from self._examples()

    def pack(self) -> Path:
        """Builds the array_record files and returns their folder."""
        bar = tfds.core.utils.tqdm_utils
        was_active = getattr(bar, "_active", True)
        tfds.disable_progress_bar()  # the caller shows its own; TFDS also prints two lines that say nothing here
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                self.download_and_prepare(
                    download_config=tfds.download.DownloadConfig(try_download_gcs=False)
                )
        finally:
            if was_active:
                tfds.enable_progress_bar()
        return Path(self.data_path)
