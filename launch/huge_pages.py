"""Large pages of memory for the whole program: glibc reads what it shall do at a process's start alone, so it starts again.

XLA gives its working memory back after every call on a CPU, a hundred megabytes for a crop of 1024 x 512, and the kernel
clears it anew in pages of 4 kB: a quarter of the time of a scan. In pages of 2 MB that costs next to nothing.
"""

import os
import sys
from pathlib import Path

_TUNABLES, _ASKED = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
_MODE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def ask(mode: Path = _MODE) -> None:
    """Starts this program again with large pages, if it is a launcher and the kernel gives them to those who ask.

    A GLIBC_TUNABLES that is set, be it empty, is left as it is: GLIBC_TUNABLES= python -m launch... asks for nothing.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None or not spec.name.startswith("launch.") or spec.name not in sys.orig_argv:
        return  # a library, a test, a child
    if _TUNABLES in os.environ:
        return
    try:
        given = "[madvise]" in mode.read_text()
    except OSError:  # no Linux
        return
    if given:
        os.environ[_TUNABLES] = _ASKED
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
