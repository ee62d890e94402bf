"""Orbax checkpoints that survive: the newest whole one is restored, a broken one is set aside and said."""

import contextlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from mammojax.errors import UserError


class Checkpoints:
    """Saves and restores a pytree with some JSON facts, by step.

    folder: created on the first save. keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, *, keep: int = 2):
        import orbax.checkpoint as ocp

        self._ocp = ocp
        self.folder = Path(folder).resolve()  # Orbax wants absolute paths
        self._options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        self._manager = None

    def _open(self):
        if self._manager is None:
            self._manager = self._ocp.CheckpointManager(self.folder, options=self._options)
        return self._manager

    def save(self, step: int, tree, facts: dict) -> None:
        """Saves asynchronously; the previous save is waited for. UserError if Orbax refuses the step."""
        manager = self._open()
        args = self._ocp.args.Composite(
            state=self._ocp.args.StandardSave(tree), facts=self._ocp.args.JsonSave(facts)
        )
        if not manager.save(step, args=args):
            raise UserError(
                f"checkpoint {step} in {self.folder} was not saved: a newer one is there; remove the folder "
                f"or choose another run directory"
            )

    def restore(self, abstract, *, say: Callable[[str], None]):
        """(step, tree, facts) of the newest whole checkpoint, None if there is none.

        abstract: the tree with `jax.ShapeDtypeStruct` leaves. Orbax lists a folder with missing files as a step and
        then fails on it: such a folder is renamed aside, said in one line, and the one before is tried.
        """
        if not self.folder.is_dir():
            return None
        args = self._ocp.args.Composite(
            state=self._ocp.args.StandardRestore(abstract), facts=self._ocp.args.JsonRestore()
        )
        while (step := self._open().latest_step()) is not None:
            try:
                with _quiet():
                    value = self._open().restore(step, args=args)
                return step, value["state"], value["facts"]
            except (ValueError, KeyError, OSError, TypeError) as error:
                say(
                    f"checkpoint {step} is broken ({type(error).__name__}); it is set aside and the one before is used"
                )
                self.close()
                broken = self.folder.parent / f"{self.folder.name}.broken-{step}"
                shutil.rmtree(broken, ignore_errors=True)
                (self.folder / str(step)).rename(broken)
        return None

    def close(self) -> None:
        """Waits for pending saves."""
        if self._manager is not None:
            self._manager.wait_until_finished()
            self._manager.close()
            self._manager = None


@contextlib.contextmanager
def _quiet():
    """Silences the page that asyncio prints when a restore fails."""
    logger = logging.getLogger("asyncio")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
