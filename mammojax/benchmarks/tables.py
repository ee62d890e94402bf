"""How measurements are written for a reader: numbers with their units, tables in Markdown, versions of packages."""

import contextlib
from importlib import metadata


def seconds_text(x: float) -> str:
    """Seconds with three digits in the unit that suits them."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")):
        if x >= unit:
            return f"{x / unit:.3g} {name}"
    return f"{x * 1e6:.3g} µs"


def bytes_text(x: float | None) -> str:
    """Bytes with three digits in the unit that suits them; n/a for None."""
    if x is None:
        return "n/a"
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if x >= unit:
            return f"{x / unit:.3g} {name}"
    return f"{x:.0f} B"


def markdown_table(head: list[str], rows: list) -> str:
    """A table in Markdown; its cells are written as they print."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def versions(*packages: str) -> str:
    """Names and versions of those of the packages that are installed."""
    found = []
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return ", ".join(found)
