"""What is set before a launcher loads anything: a quiet runtime, the cache of compiled programs, large pages of memory."""

import os
import sys
from pathlib import Path

_TUNABLES, _LARGE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
_MODE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def begin() -> None:
    """Sets what the user has not set; may start the program again."""
    ask_for_large_pages()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # no notes between a program's own lines
    # what was compiled once is not compiled again, in this start or another
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(cache, "mammojax", "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


def ask_for_large_pages(mode: Path = _MODE) -> None:
    """Starts this program again with large pages, if it is a launcher and the kernel gives them to those who ask.

    XLA gives its working memory back after every call on a CPU, a hundred megabytes for a crop of 1024 x 512, and the kernel
    clears it anew in pages of 4 kB: up to a quarter of the time of a scan. In pages of 2 MB that costs next to nothing. glibc
    reads what it shall do at a process's start alone. A GLIBC_TUNABLES that is set, be it empty, is left as it is.
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
        os.environ[_TUNABLES] = _LARGE
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
