"""How a launcher ends: one line and an exit code; of several processes of a program all end with it."""

import errno
import os
import sys
from typing import NoReturn

from mammojax.runs import processes, stopping

GOES_ON = "the same command goes on where it was"
TARGETS = {  # what is wrong with a disk or a folder, and not with the program
    errno.ENOSPC: "the disk is full; make room, then " + GOES_ON,
    errno.EDQUOT: "the quota is used up; make room, then " + GOES_ON,
    errno.EROFS: "it cannot be written to (read-only); give another folder",
    errno.EACCES: "permission denied; give a folder of your own, or ask for access",
}


def target(error: BaseException | None) -> str:
    """One line on a full, read-only or forbidden target behind an error; "" if there is none."""
    while error is not None:
        for code, text in TARGETS.items():
            if (isinstance(error, OSError) and error.errno == code) or (
                code != errno.EACCES and os.strerror(code) in str(error)  # libraries that wrap it in words
            ):
                return f"{getattr(error, 'filename', None) or 'a file'}: {text}"
        error = error.__cause__ or error.__context__
    return ""


def stop(text: str, code: int = 2, once: bool = False) -> NoReturn:
    """Ends with a line. once: of what all processes of a program say, the first one's counts."""
    if processes.is_first() or not once:
        print("error: " + " ".join(text.split()), file=sys.stderr)
    end(code)


def end(code: int) -> NoReturn:
    """Ends this process, and the other processes of its program."""
    if processes.count() > 1:
        processes.leave(code)
    stopping.over()
    sys.exit(code)
