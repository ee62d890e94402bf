"""Writes the measured tables of README.md and docs/ anew, from finished runs; nothing in them is typed by hand.

A table stands between <!-- table NAME --> and <!-- end of table -->, a section of table.md other than its first between
<!-- table NAME: HEADING --> and the same end. Tables of other names stay as they are.

Example:
  python -m launch.document --table=inbreast=runs/inbreast --table=phantom=runs/phantom
"""

import re
from pathlib import Path

from absl import flags

from launch import command_line
from launch.command_line import say

CHECKOUT = Path(__file__).resolve().parents[1]
BLOCK = r"(<!-- table {name}(?:: (?P<heading>[^\n]*?))? -->\n).*?(<!-- end of table -->)"

if __name__ == "__main__":
    TABLE = flags.DEFINE_multi_string(
        "table", [], "NAME=RUN: a table's name and the run directory it is made from"
    )


def first_table(text: str) -> str:
    """What sums up all levels: table.md up to its first level's own table."""
    return text.partition("\n\n**")[0].strip() + "\n"


def section(text: str, heading: str) -> str:
    """The table of the section of table.md with this heading; UserError if there is none."""
    from mammojax.errors import UserError

    _, found, rest = text.partition(f"**{heading}**\n\n")
    if not found:
        raise UserError(
            f"table.md has no section {heading!r}; its own are {re.findall(r'^[*][*](.*)[*][*]$', text, re.M)}"
        )
    return rest.partition("\n\n")[0].strip() + "\n"


def main(arguments: list[str]) -> None:
    from mammojax.errors import UserError
    from mammojax.runs.files import writing

    command_line.no_arguments(arguments)
    if not TABLE.value:
        raise UserError("--table is empty; give NAME=RUN, such as --table=phantom=runs/phantom")
    for one in TABLE.value:
        name, _, run = one.partition("=")
        source = Path(run) / "table.md"
        if not run or not source.is_file():
            raise UserError(
                f"--table={one}: {source} is absent; give NAME=RUN of a finished cross-validation"
            )
        whole, places = source.read_text(encoding="utf-8"), 0
        pattern = re.compile(BLOCK.format(name=re.escape(name)), re.DOTALL)
        for page in (CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))):
            text = page.read_text(encoding="utf-8")
            new, found = pattern.subn(
                lambda match, whole=whole: match[1] + _of(match, whole) + match[3], text
            )
            if found:
                with writing(page, "w") as file:
                    file.write(new)
            places += found
        if not places:
            raise UserError(
                f"no page has a table {name!r}; put <!-- table {name} --> and <!-- end of table --> into one"
            )
        say(f"{name}: {places} tables from {source}")


def _of(match: re.Match, whole: str) -> str:
    return section(whole, match["heading"]) if match["heading"] else first_table(whole)


if __name__ == "__main__":
    command_line.run(main)
