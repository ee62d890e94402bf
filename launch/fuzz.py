"""Reads thousands of damaged and malicious files and says what became of them: none may crash, hang or fill the memory.

Pictures (DICOM in seven syntaxes, PNG, TIFF, PGM, JPEG) and tables (CSV in three encodings, .xlsx, contours in XML), whole,
damaged in nine ways, and made to harm. Each must be read, or rejected with one line, within 20 s and 2 GB. A second start
with the same seed reads the same files. Those at fault are kept in --out; the exit code is then 1.

Example:
  python -m launch.fuzz --files=2000
"""

import sys
from collections import Counter
from pathlib import Path

from absl import flags

from launch import command_line
from launch.command_line import say, track

if __name__ == "__main__":
    FILES = flags.DEFINE_integer("files", 2000, "how many", lower_bound=1)
    SEED = flags.DEFINE_integer("seed", 0, "of all damage")
    WORKERS = flags.DEFINE_integer("workers", 2, "reading processes", lower_bound=1)
    OUT = flags.DEFINE_string(
        "out", "runs/fuzz", "folder for the files at fault, which is made if there are any"
    )


def main(arguments: list[str]) -> None:
    from mammojax.hostile.trial import content, verdicts
    from mammojax.runs.files import writing

    command_line.no_arguments(arguments)
    found = list(verdicts(FILES.value, seed=SEED.value, workers=WORKERS.value, track=track))
    fates = Counter((v.kind if v.damage != "made" else "made to harm", v.fate) for v in found)
    say(f"{'file':<16}{'read':>8}{'rejected':>10}{'fault':>8}")
    for kind in dict.fromkeys(kind for kind, _ in fates):
        say(f"{kind:<16}{fates[kind, 'read']:>8}{fates[kind, 'rejected']:>10}{fates[kind, 'fault']:>8}")
    slowest, largest = max(found, key=lambda v: v.seconds), max(found, key=lambda v: v.megabytes)
    say(f"{len(found)} files; the slowest took {slowest.seconds:.1f} s ({slowest.kind}, {slowest.damage}); a process held at "
        f"most {largest.megabytes:.0f} MB")  # fmt: skip
    faults = [v for v in found if v.fate == "fault"]
    for v in faults:
        path = Path(OUT.value) / f"{v.number}-{v.damage.replace(' ', '-')}-{v.kind}"
        with writing(path) as file:
            file.write(content(v.kind, v.damage, v.number, SEED.value))
        say(f"fault: {path}: {v.reason}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    command_line.run(main)
