"""Orbax checkpoints that survive: the newest whole one is restored, a damaged one is set aside and said.

Orbax notices neither a flipped byte nor, when it lists its steps, a missing file. So each step carries the size and
sha256 of its files, written after Orbax has finished it; a step without them, or with a file that differs, is not used.
"""

import errno
import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from mammojax.errors import UserError
from mammojax.runs import processes
from mammojax.runs.files import disk_failure, read_sealed, sha256_of, write_sealed

SUMS = "checksums.json"


class Checkpoints:
    """Saves and restores a pytree with some JSON facts, by step.

    folder: created on the first save; one process at a time. keep: how many of the newest stay (at least 2: the newest
    has no checksums yet when the oldest is removed). together: all processes of the program call every method, with trees
    that lie on the devices of all of them; the first one decides which step is whole and seals.
    """

    def __init__(self, folder: Path, *, keep: int = 2, together: bool = False):
        import orbax.checkpoint as ocp

        logging.getLogger("absl").addFilter(_is_not_of_orbax)
        logging.getLogger("asyncio").addFilter(_is_not_of_orbax)
        self._ocp = ocp
        self.folder = Path(folder).resolve()  # Orbax wants absolute paths
        self._options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        self._manager, self._together = None, together
        self._decides = not together or processes.is_first()
        self._sealing: threading.Thread | None = None
        self._failure: Exception | None = None

    def save(self, step: int, tree, facts: dict) -> None:
        """Saves asynchronously; the previous save is waited for.

        Raises UserError if Orbax refuses the step, or if the previous one could not be written (full disk, ...).
        """
        self._wait()
        args = self._ocp.args.Composite(
            state=self._ocp.args.StandardSave(tree), facts=self._ocp.args.JsonSave(facts)
        )
        if self.folder.is_dir() and not os.access(
            self.folder, os.W_OK
        ):  # Orbax would wait ten minutes for its folder
            self._tell(OSError(errno.EROFS, os.strerror(errno.EROFS)))
        saved = self._open().save(step, args=args)
        if not saved:
            raise UserError(
                f"checkpoint {step} in {self.folder} was not saved: a newer one is there; remove the folder "
                f"or choose another run directory"
            )
        self._sealing = threading.Thread(target=self._seal, args=(self._manager, step))
        self._sealing.start()

    def restore(self, abstract, *, say: Callable[[str], None]):
        """(step, tree, facts) of the newest whole checkpoint, None if there is none.

        abstract: the tree with `jax.ShapeDtypeStruct` leaves. A step that is damaged, or holds another tree, is renamed
        aside, said in one line, and the one before is tried.
        """
        self.close()
        args = self._ocp.args.Composite(
            state=self._ocp.args.StandardRestore(abstract), facts=self._ocp.args.JsonRestore()
        )
        while (step := self._newest(say)) is not None:
            try:
                value = self._open().restore(step, args=args)
                return step, value["state"], value["facts"]
            except (ValueError, KeyError, TypeError) as error:  # whole, but of another tree
                self.close()
                self._reject(step, f"it holds something else: {type(error).__name__}", say)
        return None

    def clear(self) -> None:
        """Removes every step: the fit is begun anew."""
        self.close()

        def remove() -> None:
            for step in self._steps():
                shutil.rmtree(self.folder / str(step))

        processes.from_first(remove) if self._together else remove()

    def _newest(self, say: Callable[[str], None]) -> int | None:
        """The newest step that is whole, None if none is; those that are not are set aside."""

        def look() -> int | None:
            for step in sorted(self._steps(), reverse=True):
                fault = _fault(self.folder / str(step))
                if not fault:
                    return step
                self._reject(step, fault, say)
            return None

        return processes.from_first(look) if self._together else look()

    def _reject(self, step: int, fault: str, say: Callable[[str], None]) -> None:
        if self._decides:
            say(f"checkpoint {step} is broken ({fault}); it is set aside and the one before is used")
            self._set_aside(step)

    def close(self) -> None:
        """Waits for pending saves; UserError if one could not be written."""
        try:
            self._wait()
        finally:
            manager, self._manager = self._manager, None
            if manager is not None:
                try:
                    manager.close()
                except Exception as error:  # of the save that failed: Orbax tells every thread once
                    self._tell(error)

    def _open(self):
        if self._manager is None:
            self._manager = self._ocp.CheckpointManager(self.folder, options=self._options)
        return self._manager

    def _steps(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        return [int(p.name) for p in self.folder.iterdir() if p.name.isdecimal()]

    def _seal(self, manager, step: int) -> None:
        """Writes the checksums of a step once Orbax has finished it; runs beside the training."""
        try:
            manager.wait_until_finished()
            if not self._decides:
                return
            folder = self.folder / str(step)
            sums = {
                p.relative_to(folder).as_posix(): [p.stat().st_size, sha256_of(p)]
                for p in sorted(folder.rglob("*"))
                if p.is_file()
            }
            write_sealed(folder / SUMS, {"files": sums})
        except Exception as error:  # told by the next save or close, in the thread that trains
            self._failure = error

    def _wait(self) -> None:
        if self._sealing is not None:
            self._sealing.join()
            self._sealing = None
            if self._together:
                processes.from_first(lambda: None)  # nobody goes on, or ends all, before it is sealed
        failure, self._failure = self._failure, None
        if failure is not None:
            self._tell(failure)

    def _tell(self, failure: Exception):
        """Raises what a failed save is for the user: UserError where it was the disk, otherwise what Orbax raised."""
        reason = disk_failure(failure, self.folder)
        if not reason:
            raise failure
        whole = [step for step in self._steps() if (self.folder / str(step) / SUMS).is_file()]
        kept = f"checkpoint {max(whole)} is whole" if whole else "there is none before it"
        raise UserError(
            f"cannot write a checkpoint in {self.folder}: {reason}; {kept}; free space and start again"
        ) from failure

    def _set_aside(self, step: int) -> None:
        base = self.folder.with_name(f"{self.folder.name}.broken-{step}")
        aside, number = base, 1
        while aside.exists():
            number += 1
            aside = base.with_name(f"{base.name}.{number}")
        (self.folder / str(step)).rename(aside)


def _fault(folder: Path) -> str:
    """What is wrong with the files of a step, "" if they are those that were written."""
    sums = read_sealed(folder / SUMS)
    if sums is None:
        return f"{SUMS} is missing or damaged"
    try:
        for name, (size, digest) in sums["files"].items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != size or sha256_of(path) != digest:
                return f"{name} is not what was written"
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"
    return ""


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    """Drops the pages that Orbax's threads and event loops log of a failure: it reaches the caller as an exception."""
    return record.levelno < logging.ERROR or not (
        "orbax" in record.pathname or "never retrieved" in record.getMessage()
    )
