"""What --help prints: the launcher's own words, its flags, and every field of the settings."""

import sys
import textwrap

from absl import flags

from launch.tables import tables
from mammojax.settings import explain
from mammojax.settings.explain import WIDTH


def help_lines(document: str, config: str | None) -> list[str]:
    """document: the launcher's docstring; config: its default config file, None for one without settings."""
    lines = []
    for paragraph in document.strip().split("\n\n"):
        text = paragraph.splitlines()
        lines += [*(text if any(line[:1] == " " for line in text) else textwrap.wrap(paragraph, WIDTH)), ""]
    own = [f for f in flags.FLAGS.get_key_flags_for_module(sys.modules["__main__"]) if f.name != "help"]
    if own:
        lines.append("Flags:")
        for flag in own:
            default = ",".join(flag.default) if isinstance(flag.default, list) else flag.default
            lines.append(f"  --{flag.name}={'' if default is None else default}")
            lines += textwrap.wrap(flag.help, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
        lines.append("")
    if config is None:
        return lines
    given = f"--config=FILE, a file of plain data that changes some fields ({config} if none is given)"
    if not config:
        given = "those of the other set, --on=FILE, a file of plain data that changes some fields"
    words = f"Settings: {given}. Any field is a flag too, and the last of several counts. Fields with their defaults:"
    return [*lines, *textwrap.wrap(words, WIDTH), *explain(tables())]
